"""Pascal VOC's XML, a file for each image, as VOC itself, labelImg, Roboflow, CVAT and Label Studio write it.

Boxes are those of MMDetection's ``XMLDataset``: whole numbers (fractions are dropped), less one, with ``xmax - xmin``
as width. Some tools count pixels from 0; for them, too, MMDetection's reader takes one off, and so does this.
"""

from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from ...errors import ConfigError
from ..boxes import OF_VOC
from .labelled import Notes, Object, Picture, Raw, progress
from .tree import Tree, one_each, part_of, text_of

_SETS = 'ImageSets/Main'
_CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


# --- recognising -----------------------------------------------------------------------------------------------------


def tag(path: Path) -> str | None:
    """The outermost tag of an XML file; None of what is none."""
    try:
        with open(path, 'rb') as file:
            return next(ElementTree.iterparse(file, ('start',)))[1].tag
    except (ElementTree.ParseError, OSError, StopIteration):
        return None


def is_voc(tree: Tree) -> bool:
    return any(tag(tree.root / name) == 'annotation' for name in tree.ending('.xml')[:20])


def parts(tree: Tree) -> dict[str, Path]:
    """The image sets train, val and test (trainval where there is no train), or folders of these names."""
    sets = {PurePosixPath(name).stem: name for name in tree.ending('.txt') if _SETS in name}
    roots = {name.split(_SETS)[0] for name in sets.values()}
    if len(roots) > 1 or sum(_SETS in name for name in tree.ending('.txt')) > len(sets):
        raise ConfigError(f'{tree.root} has several folders with {_SETS}; name one of them, such as VOC2012.')
    found = {part: tree.root / sets[part] for part in ('train', 'val', 'test') if part in sets}
    if 'train' not in found and 'trainval' in sets:
        found = dict(train=tree.root / sets['trainval']) | found
    if found:
        return found
    folders = defaultdict(set)
    for name in tree.ending('.xml'):
        first = PurePosixPath(name).parts[0]
        folders[part_of(first)].add(first)
    others = folders.pop(None, None)
    if others and len(folders) < 2:
        return {}
    return one_each(tree.root, folders)


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, kind: str) -> Raw:
    """A folder of XML files, or an image set of one.

    Raises:
        ConfigError: an image set lists what is not there, or an XML file is half-written.
    """
    notes = Notes()
    listed = path if path.is_file() else None
    if listed and not (listed.parent.name == 'Main' and listed.parent.parent.name == 'ImageSets'):
        raise ConfigError(f'{listed} is no image set of Pascal VOC, which lie in {_SETS}; name the folder.')
    tree = Tree(listed.parents[2] if listed else path)
    tree.say_hidden(notes)
    files = tree.ending('.xml')
    if listed:
        files = _listed(listed, files)
    pictures, used = {}, set()
    for name in progress(files, 'annotations', len(files)):
        picture = _picture(tree, name, notes)
        if picture is None:
            continue
        if picture.path in used:
            notes.lose('images', 'Annotation files of an image that has another', name)
            continue
        used.add(picture.path)
        pictures[name] = picture
    alone = sorted(set(tree.images) - used)
    if alone and not listed:
        notes.remark('Images without an annotation file, which may be unlabelled, are not used', *alone)
    classes = sorted({one.name for picture in pictures.values() for one in picture.objects})
    ordered = sorted(pictures.values(), key=lambda picture: picture.path)
    return Raw(kind, path, tree.root, classes, ordered, notes, OF_VOC)


def _listed(path: Path, files: list[str]) -> list[str]:
    """The annotation files of an image set; VOC's own for a class have a second column, 1, 0 or -1."""
    by_name = {}
    for name in files:
        inside = PurePosixPath(name).with_suffix('')
        by_name[inside.name] = name
        if inside.parts[0] == 'Annotations':
            by_name['/'.join(inside.parts[1:])] = name
    found, absent = [], []
    for line in text_of(path).splitlines():
        words = line.strip().rsplit(maxsplit=1)
        name = words[0] if len(words) == 2 and words[1] in ('-1', '0', '1') else line.strip()
        if name in by_name:
            found.append(by_name[name])
        elif name:
            absent.append(name)
    if absent:
        raise ConfigError(
            f'{path} lists {len(absent)} of {len(absent) + len(found)} images that have no annotation file '
            f'({", ".join(map(repr, absent[:4]))}); complete the data, or take them out of the list.'
        )
    twice = [name for name, number in Counter(found).items() if number > 1]
    if twice:
        raise ConfigError(f'{path} lists {len(twice)} images more than once, {twice[0]} among them; list each once.')
    return found


def _picture(tree: Tree, name: str, notes: Notes) -> Picture | None:
    path = tree.root / name
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ConfigError(f'{path} is not XML ({error}), it may be half-written; export it again.') from None
    if root.tag != 'annotation':
        notes.remark('XML files that are no annotations of Pascal VOC are passed over', name)
        return None
    image = _image(tree, name, (root.findtext('filename') or '').strip(), notes)
    if image is None:
        return None
    size = root.find('size')
    sides = [(size.findtext(side) if size is not None else None) or '0' for side in ('width', 'height')]
    try:
        width, height = (int(float(side)) for side in sides)
        objects = [one for entry in root.findall('object') for one in [_object(entry, image, notes)] if one]
    except (ValueError, OverflowError) as error:
        raise ConfigError(f'{path} has a number that is none ({error}); correct it.') from None
    return Picture(image, (width, height) if width > 0 and height > 0 else None, objects)


def _image(tree: Tree, name: str, said: str, notes: Notes) -> str | None:
    """The image of an annotation file: the one that is called as it, as in VOC, or else the one that it names."""
    said = said.replace('\\', '/')
    found = tree.with_stem(name)
    if len(found) > 1:
        found = [one for one in found if PurePosixPath(one).name == PurePosixPath(said).name] or found
    other = tree.named(said) if said else []
    if not found:
        if other:
            notes.remark('Annotation files that are called otherwise than the image that they name', name)
        found = other
    elif said and PurePosixPath(said).stem != PurePosixPath(found[0]).stem:
        notes.remark('Annotation files that name another image than the one that they are called after', name)
    if len(found) > 1:
        raise ConfigError(
            f'{tree.root / name} may be of {len(found)} images ({", ".join(map(repr, found[:4]))}); leave one of them.'
        )
    if not found:
        notes.lose('images', 'Annotation files whose image is not there', name)
        return None
    return found[0]


def _object(entry: ElementTree.Element, image: str, notes: Notes) -> Object | None:
    name, box = entry.findtext('name'), entry.find('bndbox')
    if not (name or '').strip():
        notes.lose('objects', 'Objects without a class', image)
        return None
    if name != name.strip():
        notes.remark('Class names with spaces around them, which are taken off', repr(name))
    if box is None:
        notes.lose('objects', 'Objects without a box (bndbox)', image)
        return None
    if entry.find('polygon') is not None:
        notes.remark('Outlines in XML are not read (export COCO JSON for masks); the boxes are', image)
    values = [float(box.findtext(corner) or 'nan') for corner in _CORNERS]
    if any(value != value for value in values):
        notes.lose('objects', 'Objects whose box lacks a corner', image)
        return None
    if any(value != int(value) for value in values):
        notes.remark("Boxes with fractions of a pixel, which are dropped as MMDetection's reader does", image)
    if min(values[:2]) < 1:
        notes.remark(
            "Boxes that begin at 0, so that pixels are counted from 0; one is taken off all boxes as MMDetection's "
            'reader does',
            image,
        )
    x1, y1, x2, y2 = (float(int(value) - 1) for value in values)
    difficult = (entry.findtext('difficult') or '0').strip()
    return Object(name.strip(), [x1, y1, x2 - x1, y2 - y1], crowd=difficult not in ('0', ''))
