"""YOLO's text files, a file for each image, as Ultralytics, Roboflow, CVAT, Label Studio and labelImg write them.

A line is a class, counted from 0, and a box ``cx cy w h`` or a polygon ``x1 y1 x2 y2 …``, in fractions of the image's
width and height. The labels of ``…/images/….jpg`` are in ``…/labels/….txt``, or beside the image. No file, or an empty
one, says that there is no object.
"""

import math
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from ...errors import ConfigError, some_names
from ..boxes import OF_YOLO
from .labelled import Notes, Object, Picture, Raw, header, progress
from .tree import Tree, one_each, part_of, plain, text_of

_LISTS = ('train.txt', 'val.txt', 'valid.txt', 'test.txt')
_NO_LABELS = ('classes.txt', 'predefined_classes.txt', 'labels.txt', 'requirements.txt', *_LISTS)
_LINE = re.compile(r'\d+(?:\.0*)?(?:\s+-?[\d.]+(?:[eE][+-]?\d+)?){4,}\s*')


# --- recognising -----------------------------------------------------------------------------------------------------


def root_of(path: Path) -> Path:
    """The folder that has images and labels, of a path that may be the one with the images or a list of them."""
    if path.is_file():
        return path.parent
    if is_yolo(Tree(path)):
        return path
    names = [one.name.lower() for one in (path, *path.absolute().parents)][:3]
    return path.absolute().parents[names.index('images')] if 'images' in names else path


def _label_files(tree: Tree) -> list[str]:
    folders = {os.path.dirname(name) for name in tree.images}
    found = []
    for name in tree.ending('.txt'):
        path = PurePosixPath(name)
        other = path.name.lower() in _NO_LABELS or path.name.lower().startswith('readme')
        if 'ImageSets' in path.parts or (other and not tree.with_stem(name)):
            continue
        if 'labels' in [part.lower() for part in path.parts[:-1]] or os.path.dirname(name) in folders:
            found.append(name)
    return found


def _label_of(image: str) -> list[str]:
    """Where the labels of an image may be."""
    parts = list(PurePosixPath(image).with_suffix('.txt').parts)
    beside, folders = '/'.join(parts), [part.lower() for part in parts[:-1]]
    if 'images' not in folders:
        return [beside]
    last = len(folders) - 1 - folders[::-1].index('images')
    return ['/'.join([*parts[:last], 'labels', *parts[last + 1 :]]), beside]


def is_yolo(tree: Tree) -> bool:
    """Whether there are label files: the first line of one is a class and numbers."""
    others = 0
    for name in _label_files(tree):
        with open(tree.root / name, 'rb') as file:
            line = file.read(1 << 16).decode('utf-8', 'replace').lstrip('\ufeff').strip().split('\n')[0]
        if _LINE.fullmatch(line.strip()):
            return True
        others += bool(line)
        if others > 100:
            break
    return False


def other_lines(tree: Tree) -> str | None:
    """Of text files called as images and that are no labels: the first, and how it begins."""
    for name in _label_files(tree):
        if tree.with_stem(name):
            with open(tree.root / name, 'rb') as file:
                beginning = file.read(40)
            if beginning.strip():
                return f'{name} begins with {beginning!r}'
    return None


def kind_of(tree: Tree) -> str:
    if tree.ending('obj.data', 'obj.names'):
        return 'CVAT YOLO'
    if tree.ending('notes.json') and tree.ending('classes.txt'):
        return 'Label Studio YOLO'
    if any(name.startswith('README.roboflow') for name in tree.files):
        return 'Roboflow YOLO'
    return 'YOLO'


@dataclass
class _Names:
    """The class names, by their number, and the file that says so, which may name the parts as well."""

    path: Path
    names: dict[int, str]
    content: dict


def _names(tree: Tree) -> _Names:
    """Of the tree, or of a folder above it.

    Raises:
        ConfigError: there are none, or files that differ.
    """
    found = []
    for folder, files in _places(tree):
        for name in files:
            one = _read_names(folder / name)
            if one:
                found.append(one)
        if found:
            break
    if not found:
        raise ConfigError(
            f'{tree.root} has YOLO labels and no names of their classes; add data.yaml (names: [cat, dog]) or '
            'classes.txt (a name in a line).'
        )
    for other in found[1:]:
        if other.names != found[0].names:
            raise ConfigError(
                f'{found[0].path} and {other.path} name different classes for the YOLO labels; leave the right one.'
            )
    # The one that names the parts as well.
    return max(found, key=lambda one: len(one.content))


def _places(tree: Tree):
    inside = tree.ending('.yaml', '.yml', '.names', 'classes.txt')
    yield tree.root, [name for name in inside if not name.endswith('predefined_classes.txt')]
    for above in list(tree.root.absolute().parents)[:2]:
        if os.access(above, os.R_OK):
            names = sorted(entry.name for entry in os.scandir(above) if entry.is_file())
            yield (
                above,
                [name for name in names if name.endswith(('.yaml', '.yml', '.names')) or name == 'classes.txt'],
            )


def _read_names(path: Path) -> _Names | None:
    text = text_of(path)
    if path.suffix not in ('.yaml', '.yml'):
        lines = [line.strip() for line in text.strip().splitlines()]
        return _Names(path, dict(enumerate(lines)), {}) if lines else None
    try:
        # As text: a class may be called no, or 007.
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        if not re.search(r'^names\s*:', text, re.MULTILINE):
            return None
        raise ConfigError(f'{path} is not YAML ({" ".join(str(error).split())}); correct it.') from None
    names = content.get('names') if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        return None
    if not all(str(key).isdecimal() for key in names):
        raise ConfigError(f'{path} has names that are not numbered from 0; write a list of names.')
    return _Names(
        path, {int(key): str(name) for key, name in sorted(names.items(), key=lambda one: int(one[0]))}, content
    )


def parts(tree: Tree) -> dict[str, Path]:
    """What data.yaml or obj.data call train, val and test; without them, folders or lists of these names.

    Raises:
        ConfigError: they name what is not there, or the same images twice.
    """
    found = _declared(tree) or _named(tree)
    places = Counter(str(path) for path in found.values())
    if found and max(places.values()) > 1:
        raise ConfigError(
            f'{tree.root} names the same images, {max(places, key=places.get)}, for {" and ".join(found)}; give '
            'training and validation their own, or name a folder of images alone.'
        )
    return found


def _declared(tree: Tree) -> dict[str, Path]:
    found = {}
    for name in tree.ending('.yaml', '.yml'):
        one = _read_names(tree.root / name)
        if one:
            for part, keys in dict(train=('train',), val=('val', 'valid'), test=('test',)).items():
                value = next((one.content[key] for key in keys if one.content.get(key)), None)
                path = _resolve(one, part, value) if value else None
                if path:
                    found[part] = path
    for name in tree.ending('obj.data'):
        for line in text_of(tree.root / name).splitlines():
            key, _, value = (word.strip() for word in line.partition('='))
            part = dict(train='train', valid='val', test='test').get(key)
            path = tree.root / PurePosixPath(value).name
            if part and path.is_file():
                found[part] = path
    return found


def _resolve(one: _Names, part: str, value) -> Path | None:
    """The folder or list of a part; the test's may be absent, as Roboflow names one whether it is there or not."""
    values = value if isinstance(value, list) else [value]
    if len(values) != 1:
        raise ConfigError(
            f'{one.path} names {len(values)} folders for {part}; put their images into one list, a text file.'
        )
    name, above = str(values[0]), one.path.parent
    candidates = [
        above / str(one.content.get('path') or '.') / name,
        above / name,
        above / re.sub(r'^(\.\./)+', '', name),
    ]
    path = next((path for path in candidates if path.exists()), None)
    if path is None and part != 'test':
        raise ConfigError(f'{one.path} names {name} for {part}, which is not there; correct it, or complete the data.')
    return path and Path(os.path.normpath(path))


def _named(tree: Tree) -> dict[str, Path]:
    found, others = defaultdict(set), False
    for name in tree.images:
        folders = PurePosixPath(name).parts[:-1]
        depth = next((depth for depth, folder in enumerate(folders, 1) if part_of(folder)), None)
        if depth:
            found[part_of(folders[depth - 1])].add('/'.join(folders[:depth]))
        others |= not depth
    if others and len(found) < 2:
        found = {}
    if not found:
        lists = [name for name in tree.files if name.lower() in _LISTS]
        return {part_of(name): tree.root / name for name in lists}
    return one_each(tree.root, found)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, kind: str) -> Raw:
    """A folder of images with label files, or a list of images.

    Raises:
        ConfigError: class names are missing, or labels cannot be understood without guessing.
    """
    notes = Notes()
    root = root_of(path)
    tree = Tree(root)
    names, labels = _names(tree), _label_files(tree)
    # As they are written, and where that is none, capitals aside.
    exact, loose = set(labels), {name.lower(): name for name in labels}
    tree.say_hidden(notes)
    twice = [name for name, number in Counter(names.names.values()).items() if number > 1]
    if twice:
        raise ConfigError(f'{names.path} has the class name {twice[0]!r} more than once; give each class its own.')
    if names.content.get('nc', str(len(names.names))) != str(len(names.names)):
        notes.remark(f'{names.path.name} says nc: {names.content["nc"]} and names {len(names.names)} classes')
    images = _listed(path, tree, notes) if path.is_file() else _below(path, tree)
    reader = _Reader(names, notes)
    pictures, used, without = [], Counter(), []
    for image in progress(images, 'labels', len(images)):
        places = _label_of(image)
        label = next((name for name in places if name in exact), None)
        label = label or next((loose[name.lower()] for name in places if name.lower() in loose), None)
        if label is None:
            without.append(image)
        else:
            used[label] += 1
        pictures.append(reader.picture(root, image, label))
    if without:
        if len(without) > len(images) / 2:
            raise ConfigError(
                f'{path}: {len(without)} of {len(images)} images have no label file ({some_names(without)}), more '
                'than half; complete the labels, or add empty files to say that nothing is on the images.'
            )
        notes.remark('Images without a label file are taken to have no object, as Ultralytics takes them', *without)
    shared = [label for label, number in used.items() if number > 1]
    if shared:
        notes.remark('Label files of several images of one name are those of each of them', *shared)
    if not path.is_file():
        _lone_labels(path, root, labels, used, notes)
    reader.refuse(path)
    return Raw(kind, path, root, list(names.names.values()), pictures, notes, OF_YOLO)


def _below(path: Path, tree: Tree) -> list[str]:
    inside = Path(os.path.relpath(path, tree.root)).as_posix()
    found = [name for name in tree.images if inside == '.' or name.startswith(f'{inside}/')]
    if not found:
        raise ConfigError(f'{path} has labels and no image; name a folder that has both (export with the images).')
    return found


def _listed(path: Path, tree: Tree, notes: Notes) -> list[str]:
    found = []
    for line in text_of(path).splitlines():
        if not line.strip():
            continue
        images = tree.named(plain(line.strip()))
        if len(images) > 1:
            raise ConfigError(
                f'{path}: {line.strip()!r} may be {len(images)} images ({some_names(images)}); write more of its path.'
            )
        if images:
            found += images
        else:
            notes.lose('images', 'Listed images that are not there', line.strip())
    return list(dict.fromkeys(found))


def _lone_labels(path: Path, root: Path, labels: list[str], used: Counter, notes: Notes) -> None:
    """Label files of no image, among those that belong to the folder that is read."""
    inside = Path(os.path.relpath(path, root)).as_posix().lower()
    folders = (inside, os.path.dirname(_label_of(f'{inside}/x')[0]).lower())
    prefixes = ('',) if inside == '.' else tuple(f'{folder}/' for folder in folders)
    alone = [name for name in labels if name not in used and name.lower().startswith(prefixes)]
    if alone:
        notes.lose('images', 'Label files whose image is not there', *alone)


class _Reader:
    """Reads label files, and remembers what says that they are not what they seem."""

    def __init__(self, names: _Names, notes: Notes) -> None:
        self.names, self.notes = names.names, notes
        self.poses = names.content.get('kpt_shape')
        self.said, self.from_zero = Counter(), True

    def picture(self, root: Path, image: str, label: str | None) -> Picture:
        found = header(root / image)
        if isinstance(found, str):  # said where headers are looked at
            return Picture(image, None)
        size, orientation = found
        width, height = size[::-1] if orientation >= 5 else size
        picture = Picture(image, None)
        for line in self._lines(root / label) if label else ():
            one = self._object(line.split(), width, height, image)
            if one:
                picture.objects.append(one)
        return picture

    def _lines(self, path: Path) -> list[str]:
        return [line for line in text_of(path).splitlines() if line.strip()]

    def _object(self, words: list[str], width: int, height: int, image: str) -> Object | None:
        try:
            number, *values = map(float, words)
        except ValueError:
            number, values = math.nan, []
        if self.poses and len(values) > 4:
            self.notes.remark('Keypoints in the labels are not used; the boxes are', image)
            values = values[:4]
        whole = math.isfinite(number) and number == int(number) and number >= 0 and all(map(math.isfinite, values))
        if whole and len(values) == 5:
            what = 'Lines with a fifth number, as a detector writes the confidence of what it found,'
            self.notes.lose('objects', what, image)
            return None
        if not whole or not (len(values) == 4 or (len(values) >= 6 and len(values) % 2 == 0)):
            self.notes.lose('objects', 'Lines that are neither a class and a box nor a class and a polygon', image)
            return None
        self.said[int(number)] += 1
        if int(number) not in self.names:
            self.notes.lose('objects', f'Objects of the class {int(number)}, which has no name,', image)
            return None
        if min(values) < -0.5 or max(values) > 1.5:
            self.notes.lose('objects', 'Objects whose coordinates are no fractions of the image', image)
            return None
        if len(values) == 4:
            cx, cy, w, h = (value * side for value, side in zip(values, (width, height) * 2, strict=True))
            return Object(self.names[int(number)], [cx - w / 2, cy - h / 2, w, h])
        points = [value * (width, height)[place % 2] for place, value in enumerate(values)]
        xs, ys = points[::2], points[1::2]
        box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
        return Object(self.names[int(number)], box, [points])

    def refuse(self, path: Path) -> None:
        number = len(self.names)
        if 0 not in self.said and number in self.said and max(self.said) == number:
            raise ConfigError(
                f'{path}: the labels have the classes 1 to {number} and the names are {number}, counted from 0; write '
                'the labels from 0, or put a name before the others.'
            )
