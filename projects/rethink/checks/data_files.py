"""Detection data sets as they lie on the disk: their annotation files or image sets, and where the images are."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..datasets import exports
from ..datasets import voc as layout
from ..datasets.annotations import Annotations, Mask, mapped, read
from ..datasets.image_statistics import decode
from ..errors import ConfigError
from ..files import sha256
from ..trust.images import EXTENSIONS
from . import voc
from .annotations import problems
from .datasets import AnnotationFile, of_2014, of_urls
from .files import how_to_get
from .listed_images import missing_images, sizes_of_images
from .problems import Problem, Use

# Images that a process takes at a time.
_CHUNK = 16
HOW_IT_IS_READ = 'docs/your_data.md says what is done with it'


@dataclass
class Split:
    """An annotation file, or an image set of PASCAL VOC.

    Args:
        name: short, for a table.
        path: of the file.
        annotations: its columns; None where it cannot be read.
        folder: that file names are relative to.
        names: of the images.
        problems: what is wrong in it.
    """

    name: str
    path: str
    annotations: Annotations | None
    folder: str
    names: list[str]
    problems: list[Problem]


def find(data: str | os.PathLike, images: str | None = None) -> list[Split]:
    """The splits of a data set.

    Args:
        data: a COCO, LVIS or keypoint JSON file; a folder that has such files, below ``annotations`` or one folder
            further down; a VOC folder, with image sets or without; one of its image sets; or any other folder or file
            that :mod:`rethink.datasets.exports` reads.
        images: folder of the images, where it is not one of the usual.

    Raises:
        ConfigError: there is no such data, or it is in a format that is not read.
    """
    path = Path(data)
    if path.is_file():
        # VOC2007/ImageSets/Main/train.txt, also named from within.
        image_sets = Path(os.path.abspath(path)).parent.parent
        if path.suffix == '.txt' and image_sets.name == 'ImageSets':
            return [_voc(path, image_sets.parent)]
        if path.suffix.lower() != '.json':
            return _export(path, images)
        exports.recognise(path)  # says so where it is another tool's
        return [_coco(path, images)]
    if not path.is_dir():
        raise ConfigError(f'there is no annotation file or folder {path}; {how_to_get(path)}.')
    sets = sorted((path / 'ImageSets' / 'Main').glob('*.txt')) if (path / 'ImageSets' / 'Main').is_dir() else []
    if sets:
        return [_voc(one, path) for one in sets if not _of_one_class(one, {part.stem for part in sets})]
    files = sorted({*path.glob('*.json'), *path.glob('annotations/*.json'), *path.glob('*/_annotations.coco.json')})
    # Others are captions, or say what a tool has written.
    files = [one for one in files if not one.name.startswith('.') and one.is_file()]
    with_objects = [one for one in files if AnnotationFile(one).has('images') and _has_objects(AnnotationFile(one))]
    if with_objects:
        return [_coco(one, images) for one in files if one in with_objects or _was_to_have(one)]
    for folder in (path / 'Annotations', path / 'annotations', path):
        first = next(folder.glob('*.xml'), None)
        if first and not exports.foreign(first):
            return [_folder_of_xml(folder, path, images)]
    return _export(path, images)


def _of_one_class(image_set: Path, parts: set[str]) -> bool:
    """VOC's own ``cat_train.txt`` beside ``train.txt``: which of its images have a cat."""
    name, _, part = image_set.stem.rpartition('_')
    return bool(name) and part in parts and voc.of_one_class(voc.names_in(image_set) or [''])


def _export(path: Path, images: str | None) -> list[Split]:
    """The parts of what an annotation tool wrote, as ``study.py new`` would read them."""
    if images is not None:
        raise ConfigError(f'--images is {images}, and {path} is read as an export, whose images are found below it.')
    found = []
    for part in exports.parts(path) or (None,):
        with tempfile.TemporaryDirectory() as out:
            labelled = exports.read(path, out, part)
            split = _coco(labelled.annotations, str(labelled.images))
        # What is there at all, and then what was changed, left out or is doubtful.
        said = [
            Problem('export', 'warning' if at else 'note', f'{part or path.name}: {text}', HOW_IT_IS_READ)
            for at, text in enumerate(labelled.said)
        ]
        written = [replace(one, what=one.what.replace(str(labelled.annotations), str(path))) for one in split.problems]
        found.append(replace(split, name=part or path.name, path=str(path), problems=[*said, *written]))
    return found


def _has_objects(file: AnnotationFile) -> bool:
    return file.has('bbox') or (file.has('categories') and not file.has('caption'))


def _was_to_have(path: Path) -> bool:
    """Of a file beside those with objects: it is empty, cut off, or COCO's without an object or category."""
    file = AnnotationFile(path)
    if not path.stat().st_size:
        return True
    if not file.has('images') or file.has('caption'):
        return False
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError:
        return True
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ('images', 'annotations'))


def _coco(path: Path, images: str | None) -> Split:
    name = path.parent.name if path.name == '_annotations.coco.json' else path.stem
    try:
        a = read(path)
    except ValueError as error:
        what = f'{path} is not JSON: {str(error).rstrip(".")}.'
        return Split(name, str(path), None, '', [], [Problem('no-json', 'error', what, how_to_get(path))])
    # LVIS v1 has addresses alone, v0.5 names; without what sets LVIS apart, addresses do.
    urls = not any(a.names) and any(a.urls)
    lvis = urls or a.of_lvis
    names = of_urls(a.urls) if urls else of_2014(a.names) if lvis else a.names
    points = {len(one['keypoints']) for one in a.categories if isinstance(one.get('keypoints'), list)}
    use = Use(keypoints=points.pop() if len(points) == 1 else None, lvis=lvis, federated=lvis, urls=urls)
    found = list(problems(a, use))
    if (a.masks != Mask.NONE).any():
        known = {one.what for one in found}
        found += [
            Problem(one.kind, 'note', one.what, one.fix)
            for one in problems(a, replace(use, masks=True))
            if one.kind in ('masks', 'rectangles') and one.what not in known
        ]
    folder = images or _image_folder(path, names)
    if folder is None:
        what = f'the images of {path} are not found beside it ({next(iter(names), "none is listed")}).'
        found.append(Problem('missing-images', 'missing', what, 'name their folder with --images'))
    else:
        missing = list(missing_images(str(path), folder, names))
        found += missing or sizes_of_images(a, folder, names)
    return Split(name, str(path), a, folder or '', names if folder else [], found)


def _image_folder(path: Path, names: list[str]) -> str | None:
    """The first of the usual folders that has one of the first images."""
    above = path.parent.parent
    parts = [part for part in ('train2017', 'val2017', 'train', 'val', 'valid', 'test') if part in path.stem]
    usual = [path.parent, path.parent / 'images', *(above / part for part in parts), above / 'images', above]
    usual += [above / 'images' / part for part in parts]
    # CVAT's images/default, and the like.
    usual += sorted(one for root in (above, path.parent) for one in (root / 'images').glob('*/'))
    return next((str(one) for one in usual if any(name and (one / name).is_file() for name in names[:20])), None)


def _voc(image_set: Path, root: Path) -> Split:
    names = voc.names_in(image_set)
    images, objects = str(root / 'JPEGImages'), str(root / 'Annotations')
    found = list(voc.files_of(str(image_set), images, objects, names, str(root)))
    if any(one.level != 'warning' for one in found):
        return Split(image_set.stem, str(image_set), None, images, [], found)
    a = layout.read(str(image_set), objects, names)
    files = [f'{name}.jpg' for name in a.names]
    found += voc.in_files(a, objects, strict=True)
    found += sizes_of_images(a, images, files) if not a.troubles else ()
    return Split(image_set.stem, str(image_set), a, images, files, found)


def _folder_of_xml(objects: Path, root: Path, images: str | None) -> Split:
    """Of an export without image sets: all of its files."""
    stems = sorted(one.stem for one in objects.glob('*.xml'))
    usual = [Path(images)] if images else [root / 'JPEGImages', root / 'images', root]
    there: dict[str, str] = {}
    for folder in usual:
        if folder.is_dir():
            there = {one.stem: one.name for one in folder.iterdir() if one.suffix.lower() in EXTENSIONS}
            if there:
                break
    missing = [stem for stem in stems if stem not in there]
    a = layout.read(str(objects), str(objects), stems)
    found = list(voc.in_files(a, str(objects), strict=True))
    files = [there.get(stem, '') for stem in stems]
    if missing:
        what = f'{len(missing):,} of {len(stems):,} files in {objects} have no image in {folder} (first {missing[0]}).'
        found.append(Problem('missing-images', 'missing', what, 'name their folder with --images'))
    elif not a.troubles:
        found += sizes_of_images(a, str(folder), files)
    return Split(root.name, str(objects), a, str(folder), files, found)


# --- images ----------------------------------------------------------------------------------------------------------


def same_content(paths: list[str], workers: int, progress: bool = True) -> list[list[str]]:
    """Groups of files with the same bytes. Read are those alone that share their size with another."""
    sizes: dict[int, list[str]] = {}
    for path in dict.fromkeys(os.path.normpath(path) for path in paths):
        try:
            sizes.setdefault(os.stat(path).st_size, []).append(path)
        except OSError:  # missing, which is said
            continue
    some = [path for group in sizes.values() if len(group) > 1 for path in group]
    digests: dict[str, list[str]] = {}
    for path, digest in _each(sha256, some, workers, 'comparing', progress):
        digests.setdefault(digest, []).append(path)
    return [sorted(group) for group in digests.values() if len(group) > 1]


def cannot_be_decoded(paths: list[str], workers: int, progress: bool = True) -> list[str]:
    """Images that are not whole; OpenCV, which a training reads with, fills the rest of a half JPEG with grey."""
    paths = list(dict.fromkeys(os.path.normpath(path) for path in paths))
    return [path for path, good in _each(_whole, paths, workers, 'decoding', progress) if not good]


def _whole(path: str) -> bool:
    cv2.setNumThreads(0)
    try:
        with Image.open(path) as image:
            image.load()
        return decode(path) is not None
    except Exception:  # Pillow raises what it likes of bytes that are no image
        return False


def _each(function, paths: list[str], workers: int, what: str, progress: bool) -> Iterator[tuple[str, object]]:
    """Path and result, computed by several processes."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    bar = tqdm(total=len(paths), desc=what, unit='image', delay=0.5, disable=not progress)
    with bar, mapped(workers if len(chunks) > workers else 1) as run:
        for chunk, results in zip(chunks, run(partial(_all, function), chunks), strict=True):
            yield from zip(chunk, results, strict=True)
            bar.update(len(chunk))


def _all(function, paths: list[str]) -> list:
    return [function(path) for path in paths]


def sizes_of(a: Annotations) -> dict[str, np.ndarray]:
    """Quantiles 0, 5, 50, 95 and 100 % of what there is: width, height, objects of an image, side of an object."""
    objects = np.bincount(np.searchsorted(ids := np.sort(a.image_ids), a.of_image).clip(0, len(ids) - 1),
                          minlength=len(ids)) if len(a.image_ids) else np.zeros(0)  # fmt: skip
    with np.errstate(invalid='ignore'):
        sides = np.sqrt(a.boxes[:, 2] * a.boxes[:, 3])
    columns = {
        'image width': a.sizes[:, 0],
        'image height': a.sizes[:, 1],
        'objects of an image': objects,
        'side of an object': sides,
    }
    found = {}
    for name, values in columns.items():
        values = values[np.isfinite(values)]
        found[name] = np.quantile(values, (0, 0.05, 0.5, 0.95, 1)) if len(values) else np.full(5, np.nan)
    return found
