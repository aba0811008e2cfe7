"""COCO JSON as annotation tools export it: Roboflow, CVAT, Label Studio and others."""

import json
import math
import mmap
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ...errors import ConfigError, some_names
from ...trust.soundness import check_kind
from ..boxes import OF_COCO
from .labelled import Notes, Object, Picture, Raw, is_ours
from .tree import Tree, part_of, plain, without_upload

_NEEDED = ('images', 'annotations', 'categories')
_MARKS = ((b'"images"', b'"file_name"'), (b'"annotations"', b'"bbox"'))
_RECORD = ('id', 'file_name', 'width', 'height')
_ENTRY = ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'segmentation', 'ignore')


# --- recognising -----------------------------------------------------------------------------------------------------


def kind_of(path: Path) -> str | None:
    """What wrote a JSON file of images or of boxes, be it half-written; None of any other, unparsed."""
    try:
        with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if not text[:64].lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{'):
                return None
            if not any(text.find(key) >= 0 and text.find(field) >= 0 for key, field in _MARKS):
                return None
            ends = text[:4096] + text[-4096:]
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    if path.name == '_annotations.coco.json':
        return 'Roboflow COCO'
    if b'Label Studio' in ends:
        return 'Label Studio COCO'
    if re.match(rb'\{"licenses":\[\{"name":"","id":0', re.sub(rb'\s', b'', ends[:200])):
        return 'CVAT COCO'
    return 'COCO JSON'


def files(tree: Tree) -> dict[str, str]:
    """COCO files of a folder and what wrote them; of COCO's own annotations those of objects alone."""
    found = {}
    for name in tree.ending('.json'):
        kind = None if is_ours(tree.root / name) else kind_of(tree.root / name)
        if kind:
            found[name] = kind
    objects = {name: kind for name, kind in found.items() if PurePosixPath(name).name.startswith('instances_')}
    return objects or found


def parts(tree: Tree) -> dict[str, Path]:
    """The files of train, val and test."""
    found = {}
    for name in files(tree):
        part = part_of(name)
        if part and part in found:
            raise ConfigError(
                f'{tree.root} has several COCO files for {part}, {found[part].name} and {name}; name one of them.'
            )
        if part:
            found[part] = tree.root / name
    return found if len(found) > 1 or len(files(tree)) == 1 else {}


# --- reading ---------------------------------------------------------------------------------------------------------


def read(path: Path, kind: str) -> Raw:
    """A COCO file, with its images wherever they are near it.

    Raises:
        ConfigError: it is no such file, or cannot be understood without guessing.
    """
    notes = Notes()
    content = _parse(path, notes)
    kind = kind_of(path) or kind
    names, numbered = _categories(path, content['categories'], notes)
    by_id, good = _records(path, content['images'], notes)
    numbered &= good & _annotations(path, content['annotations'], by_id, names, notes)
    classes = list(dict.fromkeys(names.values()))
    classes = _without_dummy(content, classes, by_id, notes)
    pictures = list({id(picture): picture for picture in by_id.values()}.values())
    base, pictures = _find(path, pictures, notes)
    return Raw(kind, path, base, classes, pictures, notes, OF_COCO, path, numbered)


def _parse(path: Path, notes: Notes) -> dict:
    check_kind(path, 'the annotation file')
    try:
        text = path.read_bytes()
        if text.startswith(b'\xef\xbb\xbf'):
            notes.change('The file begins with a byte order mark, which pycocotools does not read')
        content = json.loads(text.decode('utf-8-sig'))
    except OSError as error:
        raise ConfigError(f'the annotation file {path} cannot be read ({error.strerror}).') from None
    except ValueError as error:
        raise ConfigError(f'{path} is not JSON ({error}), or half-written; export it again.') from None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _NEEDED):
        raise ConfigError(f'{path} has no lists images, annotations and categories, so it is no COCO file of objects.')
    for key in _NEEDED:
        if not all(isinstance(one, dict) for one in content[key]):
            raise ConfigError(f'{path} has an entry in {key} that is no dictionary; export it again.')
    return content


def _number(value, path: Path, what: str, notes: Notes) -> int:
    """An id; one as text is made a number."""
    if isinstance(value, bool) or not isinstance(value, int | str) or not re.fullmatch(r'-?\d+', str(value)):
        raise ConfigError(f'{path}: {what} is {value!r} and not a whole number; correct it.')
    if isinstance(value, str):
        notes.changed = True
    return int(value)


def _categories(path: Path, listed: list[dict], notes: Notes) -> tuple[dict[int, str], bool]:
    names, numbered = {}, True
    for one in listed:
        if isinstance(one.get('name'), int):
            one['name'] = str(one['name'])
            notes.changed = True
        if not isinstance(one.get('name'), str) or not one['name']:
            raise ConfigError(f'{path}: the category {one} has no name; give it one.')
        index = _number(one.get('id'), path, f'the id of the category {one["name"]!r}', notes)
        if index in names and names[index] != one['name']:
            raise ConfigError(
                f'{path}: the categories {names[index]!r} and {one["name"]!r} have one id, {index}; give them two.'
            )
        names[index] = one['name']
        numbered &= index >= 1
    if not names:
        raise ConfigError(f'{path} has no category; list them under categories.')
    twice = [name for name, number in Counter(names.values()).items() if number > 1]
    if twice:
        notes.change('Categories of the same name under several ids are one class', *twice)
    return names, numbered


def _records(path: Path, listed: list[dict], notes: Notes) -> tuple[dict[int, Picture], bool]:
    by_id, by_name = {}, {}
    for one in listed:
        name = one.get('file_name')
        if not isinstance(name, str) or not name:
            more = ' (LVIS has coco_url; its configs are in configs/_base_/datasets)' if 'coco_url' in one else ''
            raise ConfigError(f'{path}: the image {one.get("id")!r} has no file_name{more}; export it again.')
        index = _number(one.get('id'), path, f'the id of the image {name!r}', notes)
        if index in by_id and by_id[index].path != name:
            raise ConfigError(
                f'{path}: the images {by_id[index].path!r} and {name!r} have one id, {index}; give them two.'
            )
        if name in by_name:
            notes.change('Images that are listed more than once are one, with the objects of all', name)
            by_id[index] = by_name[name]
            continue
        sides = one.get('width'), one.get('height')
        size = sides if all(isinstance(side, int | float) and math.isfinite(side) for side in sides) else None
        more = {key: value for key, value in one.items() if key not in _RECORD}
        by_id[index] = by_name[name] = Picture(name, size and (int(size[0]), int(size[1])), more=more)
    if not by_id:
        raise ConfigError(f'{path} lists no image; export it again.')
    return by_id, True


def _annotations(path: Path, listed: list[dict], by_id: dict[int, Picture], names: dict, notes: Notes) -> bool:
    """Give each picture its objects; whether the ids of the annotations are as pycocotools wants them."""
    _refuse_shifted(path, listed, names)
    ids, objects = set(), 0
    for one in listed:
        picture = by_id.get(_number(one.get('image_id'), path, 'the image_id of an annotation', notes))
        if 'category_id' not in one:
            raise ConfigError(f'{path}: the annotation {one.get("id")!r} has no category_id: it is not of objects.')
        index = _number(one['category_id'], path, 'the category_id of an annotation', notes)
        if picture is None:
            notes.lose('objects', 'Annotations of images that are not listed', f'image_id {one["image_id"]}')
            continue
        if index not in names:
            notes.lose('objects', 'Annotations of categories that are not listed', f'category_id {index}')
            continue
        picture.objects.append(_object(one, names[index], picture, notes))
        objects += 1
        ids.add(one['id'] if isinstance(one.get('id'), int) else None)
    # pycocotools takes an annotation of id 0 for none that was matched.
    whole = all(isinstance(index, int) and index >= 1 for index in ids) and len(ids) == objects
    if not whole:
        notes.change('Annotation ids that are not whole numbers from 1, each once, are counted anew')
    return whole


def _refuse_shifted(path: Path, listed: list[dict], names: dict[int, str]) -> None:
    """Annotations whose categories are those of the list, all of them one lower or higher."""
    said = {int(text) for one in listed if re.fullmatch(r'-?\d+', text := str(one.get('category_id')))}
    for step in (1, -1):
        if not said <= set(names) and said <= {index + step for index in names}:
            raise ConfigError(
                f'{path}: annotations have the categories {min(said)} to {max(said)} and the list of categories '
                f'{min(names)} to {max(names)}: all are one too {"high" if step > 0 else "low"}, so that nothing '
                'tells which class is which; export it again.'
            )


def _object(one: dict, name: str, picture: Picture, notes: Notes) -> Object:
    box = one.get('bbox')
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)
    if box and not numbers:
        box = [float('nan')] * 4  # which no box is, said where the others are
    crowd, ignore = bool(one.get('iscrowd')), bool(one.get('ignore'))
    if ignore and not crowd:
        what = (
            'Objects marked ignore, which MMDetection drops and pycocotools counts, are made crowds, neither wanted '
        )
        notes.change(f'{what}nor wrong', picture.path)
    if 'iscrowd' not in one:
        notes.changed = True
    area = one.get('area')
    area = area if isinstance(area, int | float) and not isinstance(area, bool) else None
    more = {key: value for key, value in one.items() if key not in _ENTRY}
    return Object(name, box or None, one.get('segmentation'), crowd or ignore, area, more)


def _without_dummy(content: dict, classes: list[str], by_id: dict, notes: Notes) -> list[str]:
    """Roboflow's first category is the supercategory of the others and has no annotation."""
    used = {one.name for picture in by_id.values() for one in picture.objects}
    above = {str(one.get('supercategory')) for one in content['categories']}
    dummies = [
        one['name']
        for one in content['categories']
        if one['name'] in above and one['name'] not in used and one.get('supercategory') in (None, '', 'none')
    ]
    dummies = [name for name in dummies if classes.count(name) and len(classes) > 1]
    if dummies:
        notes.change("Categories that are Roboflow's name for all others, without an object, are no class", *dummies)
    return [name for name in classes if name not in dummies]


# --- the images ------------------------------------------------------------------------------------------------------


def _find(path: Path, pictures: list[Picture], notes: Notes) -> tuple[Path, list[Picture]]:
    """Folder of the images, and the pictures with their paths below it."""
    tree = Tree(path.parent)
    if not tree.images:  # a folder of annotations beside that of the images
        tree = Tree(path.parent.parent)
    if any(picture.path.startswith(('/', '../')) for picture in pictures):
        return _by_path(path, pictures, notes) or _search(path, tree, pictures, notes)
    return _search(path, tree, pictures, notes)


def _by_path(path: Path, pictures: list[Picture], notes: Notes) -> tuple[Path, list[Picture]] | None:
    """Names that are whole paths, or begin at the file's folder, where they all are there."""
    places = [os.path.normpath(path.parent / picture.path) for picture in pictures]
    if not all(map(os.path.isfile, places)):
        return None
    base = os.path.commonpath([os.path.dirname(place) for place in places])
    for picture, place in zip(pictures, places, strict=True):
        picture.path = os.path.relpath(place, base)
    notes.change(f'Images are named by whole paths, all below {base}')
    return Path(base), pictures


def _search(path: Path, tree: Tree, pictures: list[Picture], notes: Notes) -> tuple[Path, list[Picture]]:
    """Below a folder, by the end of their names."""
    base = _common_base(tree, path, [picture.path for picture in pictures])
    there = set(tree.images)
    prefix = f'{base}/' if base else ''
    lost = {id(picture): picture for picture in pictures if base is None or prefix + picture.path not in there}
    found = _elsewhere(tree, path, lost.values())
    tree.say_hidden(notes)
    missing = [picture.path for key, picture in lost.items() if key not in found]
    if missing:
        notes.lose('images', f'Listed images that are not below {tree.root}', *missing)
    folder = tree.root / base if base is not None else tree.root
    if found:
        folder = tree.root
        notes.change('Images that are elsewhere, or called otherwise, than the file says', *found.values())
    kept = []
    for picture in pictures:
        if id(picture) in lost and id(picture) not in found:
            continue
        if found:
            picture.path = found.get(id(picture), prefix + picture.path)
        kept.append(picture)
    rest = there - {(prefix if not found else '') + picture.path for picture in kept}
    rest = {name for name in rest if base is None or found or name.startswith(prefix)}
    # A folder that train and val share has the images of the other.
    if rest and (part_of(path.name) is None or part_of(str(base))):
        notes.remark('Images in the folder that the file does not list are not used', *sorted(rest))
    if len({picture.path for picture in kept}) < len(kept):
        twice = [name for name, number in Counter(picture.path for picture in kept).items() if number > 1]
        raise ConfigError(f'{path}: several of its images are one file ({some_names(twice)}); correct file_name.')
    return folder, kept


def _common_base(tree: Tree, path: Path, names: list[str]) -> str | None:
    """The folder below which most of the names are, as they stand; None where none is."""
    bases = Counter()
    for name in names:
        for found in tree.called(os.path.basename(name)):
            if found == name:
                bases[''] += 1
            elif found.endswith(f'/{name}'):
                bases[found[: -len(name) - 1]] += 1
    if not bases:
        return None
    best = max(bases.values())
    most = [base for base, number in bases.items() if number == best]
    if len(most) > 1:
        part = part_of(path.name)
        beside = [base for base in most if tree.root / base == path.parent]
        most = [base for base in most if part and part_of(base) == part] or beside or most
    if len(most) > 1:
        raise ConfigError(
            f'{path}: its images are in {len(most)} folders ({some_names(most)}), and nothing tells which are meant; '
            'leave one of them.'
        )
    return most[0]


def _elsewhere(tree: Tree, path: Path, pictures: Iterable[Picture]) -> dict[int, str]:
    """``id`` of a picture -> its path in the tree, for those whose name is told another way."""
    found, folder = {}, path.parent.relative_to(tree.root).as_posix()
    for picture in pictures:
        name = plain(picture.path)
        paths = tree.named(name)
        if not paths and without_upload(name):
            paths = tree.named(without_upload(name))
        if len(paths) > 1:
            paths = [one for one in paths if one == f'{folder}/{name}'] or paths
        if len(paths) == 1:
            found[id(picture)] = paths[0]
    return found
