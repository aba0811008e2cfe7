"""Rule of PASCAL VOC's layout: what an image set lists is there, can be read, and has objects of its classes."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..config_tree import is_remote, type_name
from ..datasets import voc as layout
from ..datasets.annotations import Annotations, objects_of_categories
from ..errors import some_names
from .annotations import TIMES, Problem, repeated, set_classes
from .datasets import Dataset
from .facts import Facts
from .files import how_to_get
from .findings import Finding, rule
from .listed_images import sizes_of_images

_IMAGES = '.jpg'


@rule('voc', ends=True)
def voc(facts: Facts) -> Iterator[Finding]:
    from mmdet.datasets import XMLDataset

    subset = bool(facts.cfg.get('allow_class_subset'))
    trained: dict[str, set[str]] = {}
    for one in facts.used:
        if one.is_a(XMLDataset) and one.local and one.file:
            filtered = any(type_name(step.get('type')) == 'FilterAnnotations' for step in facts.steps(one))
            for problem in _look(one, filtered, subset, trained):
                fix, sure = problem.fix, problem.sure
                yield Finding(problem.level, one.path, problem.what, source='docs/data.md', fix=fix, sure=sure)
    first = next((one for one in facts.datasets['train'] if one.path in trained), None)
    if first is not None and first.classes is not None:
        there = set().union(*trained.values())
        empty = [name for name in first.classes if name not in there]
        if empty:
            what = (
                f'{len(empty)} of {len(first.classes)} classes of {first.path} have no object ({some_names(empty)}).'
            )
            fix = f'leave them out: {set_classes([name for name in first.classes if name in there])}'
            yield Finding('warning', first.path, what, source='docs/data.md', fix=fix)


def _look(one: Dataset, filtered: bool, subset: bool, trained: dict[str, set[str]]) -> Iterator[Problem]:
    """Folders are listed and not searched for each file; what is missing goes before what is wrong in files.

    Args:
        trained: gets the names of what there is to train.
    """
    year = one.join((one.cfg.get('data_prefix') or {}).get('sub_data_root', ''))
    if is_remote(year):
        return
    images = os.path.join(year, one.cfg.get('img_subdir', 'JPEGImages'))
    objects = os.path.join(year, one.cfg.get('ann_subdir', 'Annotations'))
    names = names_in(one.annotations)
    absent = list(files_of(one.annotations, images, objects, names, one.path))
    yield from absent
    if any(problem.level != 'warning' for problem in absent):
        return
    a = layout.read(one.annotations, objects, names)
    trains = one.path.startswith('train')
    least = (one.cfg.get('filter_cfg') or {}).get('bbox_min_size') or 0
    yield from in_files(a, objects, trains and not filtered and least < 1)
    yield from of_classes(a, one.classes, one.path, subset)
    yield from repeated(a, not trains)
    if trains:
        trained[one.path] = {category['name'] for category in a.categories}
    yield from _left(a, one, trains)
    if not a.troubles:
        yield from sizes_of_images(a, images, [f'{name}{_IMAGES}' for name in a.names])


def names_in(image_set: str | os.PathLike) -> list[str] | None:
    """The lines of an image set; None where it is no text."""
    try:
        names = Path(image_set).read_text(encoding='utf-8').split('\n')
    except UnicodeDecodeError:
        return None
    return [name.rstrip('\r') for name in (names[:-1] if names[-1:] == [''] else names)]


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
    if all(name.split()[1:] in (['1'], ['0'], ['-1']) for name in names):
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
            if bare != line and bare in stems:
                what = f'{image_set} of {of} has lines that are no names of images ({line!r} for {bare!r}).'
                yield Problem('no-names', 'error', what, 'write names alone, without folder, ending, spaces and mark')
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


def of_classes(a: Annotations, classes: list[str] | None, of: str, subset: bool) -> Iterator[Problem]:
    """Objects are found by name; MMDetection leaves out those of others and says nothing."""
    there = dict(zip([one['name'] for one in a.categories], objects_of_categories(a), strict=True))
    if classes is None or layout.NO_XML in a.troubles:
        return
    if not set(there) & set(classes):
        what = f'no object that {a.path} of {of} lists is of a class of the data set.'
        fix = f'set metainfo.classes to the names in the files ({some_names(there) or "there is none"})'
        yield Problem('classes', 'error', what, fix)
        return
    other = set(there) - set(classes)
    plain = {_plain(name): name for name in classes}
    near = {name: plain[_plain(name)] for name in other if _plain(name) in plain}
    if near:
        pairs = ', '.join(f'{name!r} for {right!r}' for name, right in sorted(near.items())[:4])
        number = sum(there[name] for name in near)
        what = f'{number:,} objects that {a.path} of {of} lists have a class in another spelling ({pairs})'
        what += ' and are left out.'
        yield Problem('spelling', 'error', what, 'write the name as in metainfo.classes')
    lost = other - set(near)
    if lost and not subset:
        what = (
            f'{sum(there[name] for name in lost):,} objects that {a.path} of {of} lists are of {len(lost)} classes '
            f'that the data set has not ({some_names(lost)}), and would be left out.'
        )
        fix = 'add them to metainfo.classes, or allow it with allow_class_subset = True in the config'
        yield Problem('classes', 'error', what, fix)


def _plain(name: str) -> str:
    return ' '.join(name.split()).lower()


def _left(a: Annotations, one: Dataset, trains: bool) -> Iterator[Problem]:
    cfg = {} if one.cfg.get('test_mode') else one.cfg.get('filter_cfg') or {}
    if trains and len(a.crowd) and a.crowd.all():
        what = f'all objects that {a.path} of {one.path} lists are marked difficult, and none is trained.'
        yield Problem('all-crowds', 'error', what, 'write 0 for difficult')
    known = [category['id'] for category in a.categories if one.classes is None or category['name'] in one.classes]
    full = np.zeros(len(a.names), bool)
    full[a.of_image[np.isin(a.of_category, known)]] = True
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
