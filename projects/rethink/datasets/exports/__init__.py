"""What people have when they have labelled images, whatever wrote it, as one COCO JSON and a folder of images.

:func:`recognise` says what a folder or a file can be, :func:`parts` which parts of a data set it has, :func:`read`
reads one and says what it found, changed and left out, :func:`split` divides it and :func:`same_classes` brings two to
one order of classes. Nothing is written but below the folder that is named for it. docs/your_data.md describes it.

The readers are our own, on pycocotools, ElementTree, PyYAML and Pillow. Libraries for these formats were tried on two
sets as their authors publish them: 200 photographs in VOC's XML without image sets, and microscope images of classes
that are not VOC's. datumaro 1.13 does not recognise the one, ends at an undeclared label in the other, and brings
pandas, pyarrow and shapely. globox 2.9 keeps boxes alone, without polygons, crowds and difficult, takes images of one
suffix, and YOLO's numbers for names. labelformat 0.1 asks for VOC's class names beforehand, ignores difficult, and
ends with a KeyError at a class that a COCO file does not list. supervision 0.31 recognises nothing, decodes every
image, takes one without labels for background, passes over labels without an image, ignores difficult, and makes VOC's
boxes a pixel larger than MMDetection's. None of them says what it leaves out.
"""

import hashlib
from pathlib import Path

from ...errors import ConfigError, some_names
from ...trust.images import EXTENSIONS
from . import coco, voc, yolo
from .labelled import Labelled, finish, header, progress
from .other_formats import first_in, foreign
from .splitting import same_classes, split
from .tree import Tree

__all__ = ['KINDS', 'Labelled', 'foreign', 'parts', 'read', 'recognise', 'same_classes', 'split', 'unlabelled']

KINDS = (
    'COCO JSON', 'Roboflow COCO', 'CVAT COCO', 'Label Studio COCO', 'Pascal VOC',
    'YOLO', 'Roboflow YOLO', 'CVAT YOLO', 'Label Studio YOLO',
)  # fmt: skip
_LOOKED_FOR = (
    'a COCO JSON (images, annotations, categories), XML files of Pascal VOC (annotation), or text files of YOLO '
    'beside images or in labels/'
)
_PACKED = ('.zip', '.tar', '.gz', '.tgz', '.rar', '.7z')


# --- what it is ------------------------------------------------------------------------------------------------------


def recognise(path: str | Path) -> list[str]:
    """What a folder or a file can be, of :data:`KINDS`; more than one where a folder has labels of several formats.

    Raises:
        ConfigError: it is none of them, or not there; with what was looked for.
    """
    path = _there(path)
    if path.is_file():
        return [_kind_of_file(path)]
    tree = Tree(path)
    of_coco = list(dict.fromkeys(coco.files(tree).values()))
    found = [next((kind for kind in of_coco if kind != 'COCO JSON'), of_coco[0])] if of_coco else []
    found += ['Pascal VOC'] if voc.is_voc(tree) else []
    if yolo.is_yolo(tree):
        found.append(yolo.kind_of(tree))
    elif not found and tree.images:
        around = yolo.root_of(path)
        above = Tree(around) if around != path else tree
        found += [yolo.kind_of(above)] if yolo.is_yolo(above) else []
    if not found:
        raise ConfigError(f'{path} is no labelled data set: {_what_else(tree)}.')
    return found


def _there(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise ConfigError(f'{path} does not exist; name a folder, or a COCO JSON.')
    if path.is_file() and path.suffix.lower() in _PACKED:
        raise ConfigError(f'{path} is an archive; unpack it and name the folder.')
    # What YOLO's own tools take stands in the folder that it is about.
    return path.parent if path.is_file() and path.suffix.lower() in ('.yaml', '.yml', '.data') else path


def _kind_of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    found = coco.kind_of(path) if suffix == '.json' else None
    other = None if found else foreign(path)
    if other:
        raise ConfigError(f'{path} is {other}.')
    if suffix == '.json':
        return found or 'COCO JSON'  # reading it says what it lacks
    if suffix == '.txt':
        return 'Pascal VOC' if path.parent.name == 'Main' else yolo.kind_of(Tree(path.parent))
    raise ConfigError(f'{path} is no labelled data set; name a folder, a COCO JSON, an image set or a list of images.')


def _what_else(tree: Tree) -> str:
    other = first_in(tree)
    if other:
        return f'{other[0]} is {other[1]}'
    lines = yolo.other_lines(tree)
    if lines:
        wanted = 'YOLO has a class number and a box or a polygon, with spaces between them'
        return f'it has {len(tree.images)} images, and {lines}, where {wanted}; write the labels so'
    inside = f'it has {len(tree.images)} images and none of {_LOOKED_FOR}'
    if tree.images:
        return f'{inside}; name the folder that has the labels as well'
    packed = next(iter(tree.ending(*_PACKED)), None)
    if packed:
        return f'{inside}, but {packed}; unpack that first'
    return f'{inside}, and no image' if tree.files else 'it is empty'


def _choose(path: Path, kind: str | None) -> str:
    """The one kind that a path is read as."""
    found = recognise(path)
    if kind is not None:
        fits = [one for one in found if kind.lower() in (one.lower(), one.lower().split()[-1], one.split()[0].lower())]
        if len(fits) != 1:
            raise ConfigError(f'{path} is not {kind!r}; it can be {" or ".join(found)}.')
        return fits[0]
    if len(found) > 1:
        raise ConfigError(
            f'{path} can be {" or ".join(found)}, and nothing tells which labels are meant; leave those of one alone '
            'in it, name a COCO JSON itself, or in Python say which with kind.'
        )
    return found[0]


def _module(kind: str):
    return voc if kind == 'Pascal VOC' else yolo if kind.endswith('YOLO') else coco


# --- reading ---------------------------------------------------------------------------------------------------------


def parts(path: str | Path, kind: str | None = None) -> dict[str, Path]:
    """The parts ``'train'``, ``'val'`` and ``'test'`` of a data set, as far as it says so.

    Args:
        kind: of :data:`KINDS`, or the last word of one, where a folder has labels of several formats.

    Returns:
        part -> what :func:`read` reads; empty for a file, and where there is one set of labels for all.

    Raises:
        ConfigError: as :func:`recognise`, or the data set contradicts itself.
    """
    path = _there(path)
    if path.is_file():
        return {}
    kind = _choose(path, kind)
    found = _module(kind).parts(Tree(path))
    return {part: found[part] for part in ('train', 'val', 'test') if part in found}


def read(path: str | Path, out: str | Path, split: str | None = None, kind: str | None = None) -> Labelled:
    """Read a data set, or a part of one, as COCO JSON.

    Args:
        path: a folder, a COCO JSON, an image set of VOC, or data.yaml or a list of images of YOLO.
        out: folder that the JSON is written to, if one has to be written: ``<name>[-<split>]-<six digits>.json``, the
            digits a hash of the path, so that each data set has its own and is written again in its place.
        split: ``'train'``, ``'val'`` or ``'test'``: that part of :func:`parts`.
        kind: as of :func:`parts`.

    Raises:
        ConfigError: it is none, can be several things, has parts of which none is named, or too much of it cannot be
            used; one sentence says what and where.
    """
    path, out = _there(path), Path(out)
    kind, wanted, only = _choose(path, kind), path, ()
    found = {} if path.is_file() else parts(path, kind)
    if split is not None:
        if split not in found:
            has = f'it has {", ".join(found)}' if found else 'it has no parts'
            raise ConfigError(f'{path} has no part {split!r} ({has}); name another, or a folder of its own.')
        wanted = found[split]
    elif list(found) == ['train']:
        wanted, only = found['train'], (f'Of {path} the part train is read, the only one that it has.',)
    elif found:
        raise ConfigError(f'{path} has {", ".join(found)}; say which of these parts is to be read, or name it.')
    raw = _module(kind).read(wanted if _module(kind) is not coco else _file_of(wanted), kind)
    labelled = finish(raw, out, _name(path, split))
    return Labelled(**{**vars(labelled), 'said': (*labelled.said, *only)})


def _name(path: Path, split: str | None) -> str:
    whole = path.resolve()
    words = [whole.stem if path.is_file() else whole.name, *([split] if split else [])]
    digits = hashlib.sha256(str(whole).encode()).hexdigest()[:6]
    return '-'.join((*words, digits))


def _file_of(path: Path) -> Path:
    """The COCO file of a folder that has one."""
    if path.is_file():
        return path
    tree = Tree(path)
    found = list(coco.files(tree))
    if len(found) > 1:
        raise ConfigError(f'{path} has {len(found)} COCO files ({some_names(found)}); name one of them.')
    return tree.root / found[0]


def unlabelled(path: str | Path) -> list[Path]:
    """The images below a folder, sorted, for pre-training: hidden files and macOS' copies aside.

    Raises:
        ConfigError: there is none, or some cannot be read.
    """
    path = _there(path)
    if not path.is_dir():
        raise ConfigError(f'{path} is no folder; name one that has images.')
    images = Tree(path).images
    if not images:
        raise ConfigError(f'{path} has no image ({", ".join(EXTENSIONS)}); name a folder that has some.')
    broken = [name for name in progress(images, 'images', len(images)) if isinstance(header(path / name), str)]
    if broken:
        raise ConfigError(
            f'{path} has {len(broken)} of {len(images)} images that cannot be read ({some_names(broken)}); replace '
            'them, or take them away.'
        )
    return [path / name for name in images]
