"""Rule of PASCAL VOC's layout: what an image set lists is there, can be read, and is no nonsense.

Of which classes its objects are is for the rule of classes.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config_tree import is_remote, type_name
from ..datasets import voc as layout
from ..datasets.annotations import Annotations
from ..datasets.boxes import OF_VOC, meant
from ..errors import some_names
from .datasets import Dataset
from .facts import Facts
from .files import how_to_get
from .findings import Finding, rule
from .listed_images import sizes_of_images
from .objects import TIMES, repeated
from .problems import Problem

_IMAGES = '.jpg'


@dataclass(frozen=True)
class ImageSet:
    """An image set of a run, and what is known of it.

    Args:
        images, objects: its folders.
        names: its lines; None where it is no text, or on another machine.
        absent: what it lists and there is no file of.
        annotations: its columns; None where a file is missing.
    """

    images: str
    objects: str
    names: list[str] | None
    absent: list[Problem]
    annotations: Annotations | None


def image_set(facts: Facts, one: Dataset) -> ImageSet | None:
    """The same for all who ask, so that it is read once; None where a data set is none, or its file is missing."""
    from mmdet.datasets import XMLDataset

    if not (one.is_a(XMLDataset) and one.local and one.file):
        return None
    return facts.once((ImageSet, one.path), lambda: _read(one))


def _read(one: Dataset) -> ImageSet:
    """Folders are listed and not searched for each file; what is missing goes before what is wrong in files."""
    year = one.join((one.cfg.get('data_prefix') or {}).get('sub_data_root', ''))
    images = os.path.join(year, one.cfg.get('img_subdir', 'JPEGImages'))
    objects = os.path.join(year, one.cfg.get('ann_subdir', 'Annotations'))
    if is_remote(year):
        return ImageSet(images, objects, None, [], None)
    names = names_in(one.annotations)
    absent = list(files_of(one.annotations, images, objects, names, one.path))
    missing = any(problem.level != 'warning' for problem in absent)
    return ImageSet(images, objects, names, absent, None if missing else layout.read(one.annotations, objects, names))


@rule('voc', ends=True)
def voc(facts: Facts) -> Iterator[Finding]:
    for one in facts.used:
        found = image_set(facts, one)
        if found is not None:
            filtered = any(type_name(step.get('type')) == 'FilterAnnotations' for step in facts.steps(one))
            for problem in _look(one, found, filtered):
                fix, sure = problem.fix, problem.sure
                yield Finding(problem.level, one.path, problem.what, source='docs/data.md', fix=fix, sure=sure)


def _look(one: Dataset, found: ImageSet, filtered: bool) -> Iterator[Problem]:
    yield from found.absent
    a = found.annotations
    if a is None:
        return
    trains = one.path.startswith('train')
    least = (one.cfg.get('filter_cfg') or {}).get('bbox_min_size') or 0
    yield from in_files(a, found.objects, trains and not filtered and least < 1)
    yield from repeated(a, not trains)
    yield from _left(a, one, trains)
    if not a.troubles:
        yield from sizes_of_images(a, found.images, [f'{name}{_IMAGES}' for name in a.names])


def names_in(image_set: str | os.PathLike) -> list[str] | None:
    """The lines of an image set; None where it is no text."""
    try:
        names = Path(image_set).read_text(encoding='utf-8').split('\n')
    except UnicodeDecodeError:
        return None
    return [name.rstrip('\r') for name in (names[:-1] if names[-1:] == [''] else names)]


def of_one_class(names: list[str]) -> bool:
    """Whether lines are names and 1, 0 or -1, as in VOC's sets of a class: it is there, not there, or difficult."""
    return all(name.split()[1:] in (['1'], ['0'], ['-1']) for name in names)


def files_of(image_set: str, images: str, objects: str, names: list[str] | None, of: str) -> Iterator[Problem]:
    """What an image set lists and there is no file of: the first that is wrong, or a warning."""
    if names is None:
        yield Problem('no-text', 'error', f'{image_set} of {of} is no text in UTF-8.', 'write it again')
        return
    if not names:
        yield Problem('no-images', 'error', f'{image_set} of {of} lists no image.', how_to_get(image_set))
        return
    blank = [index + 1 for index, name in enumerate(names) if not name.strip()]
    if blank:
        lines = f'{len(blank)} blank lines' if len(blank) > 1 else 'a blank line'
        what = (
            f'{image_set} of {of} has {lines} (line {", ".join(map(str, blank[:4]))}), each an image without a name.'
        )
        yield Problem('blank-line', 'error', what, 'take it out')
        return
    if of_one_class(names) and not os.path.isfile(os.path.join(images, names[0] + _IMAGES)):
        what = (
            f'{image_set} of {of} has two columns ({names[0]!r}): it says of one class which images have it, and '
            'is no list of images.'
        )
        yield Problem('two-columns', 'error', what, 'name the image set without a class, such as trainval.txt')
        return
    for folder, suffix in ((images, _IMAGES), (objects, '.xml')):
        if not os.path.isdir(folder):
            yield Problem(
                'missing-images', 'missing', f'the folder {folder} of {of} does not exist.', how_to_get(folder)
            )
            return
        there = set(os.listdir(folder))
        missing = [name + suffix for name in names if name + suffix not in there]
        if missing:
            stems = {os.path.splitext(name)[0]: name for name in there}
            near = stems.get(os.path.splitext(missing[0])[0])
            line = missing[0][: -len(suffix)]
            bare = os.path.splitext(line.strip().lstrip('\ufeff'))[0]
            bare = bare if bare in stems else line.split()[0]
            if bare != line and bare in stems:
                what = f'{image_set} of {of} has lines that are no names of images ({line!r} for {bare!r}).'
                yield Problem(
                    'no-names', 'error', what, 'write names alone, without folder, ending, columns, spaces and mark'
                )
                return
            hint = f'; there is {near!r}, and MMDetection reads {suffix} alone' if near else ''
            what = (
                f'{folder} lacks {len(missing)} of the {len(names)} files that {image_set} of {of} lists '
                f'({some_names(missing)}{hint}).'
            )
            fix = f'convert or rename them to {suffix}' if near else how_to_get(folder)
            yield Problem('missing-images', 'missing', what, fix)
            return
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        what = f'{image_set} of {of} lists {len(twice):,} images more than once ({some_names(twice)}).'
        yield Problem('duplicate-images', 'warning', what, 'list each once')


def in_files(a: Annotations, folder: str, strict: bool) -> Iterator[Problem]:
    """What is wrong in files of XML.

    Args:
        strict: a box without an area reaches the loss.
    """
    for kind, level, what, fix in (
        (layout.NO_XML, 'error', 'are not XML', 'write them again, they may be half-written'),
        (layout.OTHER, 'error', 'have another root than annotation, and are not of VOC', 'export VOC'),
        (layout.BAD_SIZE, 'error', 'have a size that is no number above 0', 'write width and height in pixels'),
        (layout.BAD_OBJECT, 'error', 'have an object without a name or numbers for its corners and difficulty',
         'complete it, or take it out'),
        (layout.NO_SIZE, 'warning', 'have no size, so that MMDetection decodes each image when a run begins',
         'write width and height in pixels'),
    ):  # fmt: skip
        files = a.troubles.get(kind)
        if files:
            sentence = f'{len(files):,} of {len(a.names):,} files in {folder} {what} ({some_names(files)}).'
            yield Problem('xml', level, sentence, fix)
    flat = (a.boxes[:, 2:] <= 0).any(1)
    if len(flat) and flat.all() and np.abs(a.boxes).max() <= 1:
        what = f'all objects in {folder} have corners between 0 and 1, as if in parts of the image instead of pixels.'
        yield Problem('relative-boxes', 'error', what, 'multiply them by width and height')
    elif flat.any():
        inverted = int((a.boxes[:, 2:] < 0).any(1).sum())
        more = f', {inverted:,} of them with corners the wrong way round' if inverted else ''
        what = f'{flat.sum():,} of {len(flat):,} objects in {folder} have a box without an area{more} ({_of(a, flat)})'
        if strict:
            what += ', whose loss is not a number'
        elif not inverted:
            what += ', which count as missed in validation'
        fix = 'correct them, or leave them out of training with filter_cfg = dict(bbox_min_size=1)'
        yield Problem('no-area', 'error' if strict else 'warning', f'{what}.', fix)
    sizes = a.sizes[a.of_image]
    known = np.isfinite(sizes).all(1) & ~flat
    # Boxes are without the pixel of their second corner.
    other = meant(a.boxes[known] + [0, 0, 1, 1], sizes[known], OF_VOC)
    if other:
        reading, reaching = other
        what = (
            f'{reaching:,} of {known.sum():,} boxes in {folder} reach out of their images as xmin, ymin, xmax, ymax, '
        )
        what += f'and as {reading.words} all fit.'
        yield Problem(reading.kind, 'error', what, reading.fix, sure=False)
        return
    end = a.boxes[:, :2] + a.boxes[:, 2:] + 1
    outside = known & ((end <= 0) | (a.boxes[:, :2] >= sizes)).any(1)
    over = np.maximum(end - sizes, -a.boxes[:, :2] - 1).max(1, initial=-np.inf)
    far = known & ~outside & (over > TIMES * np.nan_to_num(sizes).max(1, initial=0))
    out = known & ~outside & ~far & (over > 1)
    as_is = 'correct them; MMDetection trains them as they are'
    for where, words, level, fix in (
        (outside, 'a box outside of the image', 'warning', as_is),
        (far, f'a box that sticks out by {TIMES} times the size of its image and more', 'error', 'correct them'),
        (out, 'a box that sticks out of the image', 'warning', as_is),
    ):
        if where.any():
            what = f'{where.sum():,} of {len(where):,} objects in {folder} have {words} ({_of(a, where)}).'
            yield Problem('boxes-outside', level, what, fix, sure=level == 'warning')


def _of(a: Annotations, where: np.ndarray) -> str:
    return some_names({f'{a.names[index]}.xml' for index in a.of_image[where]})


def _left(a: Annotations, one: Dataset, trains: bool) -> Iterator[Problem]:
    cfg = {} if one.cfg.get('test_mode') else one.cfg.get('filter_cfg') or {}
    known = [category['id'] for category in a.categories if one.classes is None or category['name'] in one.classes]
    of_classes = np.isin(a.of_category, known)
    if of_classes.any() and a.crowd[of_classes].all():
        what = f'all objects that {a.path} of {one.path} lists are marked difficult, and '
        what += 'none is trained.' if trains else 'none is counted: whatever is found, AP is 0.'
        yield Problem('all-crowds', 'error', what, 'write 0 for difficult')
    full = np.zeros(len(a.names), bool)
    full[a.of_image[of_classes]] = True
    small = np.zeros(len(a.names), bool)
    small[:] = a.sizes.min(1) < cfg.get('min_size', 0)
    left = ~small & (full if cfg.get('filter_empty_gt') else True)
    if not trains:
        if not left.all():
            what = (
                f'filter_cfg leaves out {(~left).sum():,} of the {len(left):,} images of {a.path} that are evaluated.'
            )
            yield Problem(
                'filtered', 'error', what, 'set test_mode=True in the data set, with which nothing is left out'
            )
        return
    if not left.any():
        what = (
            f'filter_cfg leaves none of the {len(left):,} images of {a.path} ({(~full).sum():,} without an object, '
            f'{small.sum():,} below {cfg.get("min_size", 0)} pixels).'
        )
        yield Problem('no-image-left', 'error', what, 'change filter_cfg, or the image set')
    elif small.any():
        what = f'{small.sum():,} of {len(small):,} images of {a.path} are below filter_cfg.min_size and are left out.'
        yield Problem('small-images', 'warning', what, 'set it lower to train on them')
