"""What an annotation file says that a run would end with, or be worth nothing by: every object looked at, once.

What is an error and what a warning follows from what MMDetection and pycocotools do with it, which docs/data.md lists:
an error ends a run, or trains or scores something else than is meant; a warning is left out, or is suspicious.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..datasets.annotations import FREQUENCIES, NONE, TEXT, Annotations, Fault, Mask, Points, code_of
from ..datasets.boxes import OF_COCO, SLACK, meant, over
from ..errors import some_names

# Sizes of its image by which a box sticks out that is of none.
TIMES = 10
# Part of the annotations that may repeat others.
_TWICE = 0.01


@dataclass(frozen=True)
class Use:
    """What a run does with a file.

    Args:
        trains: on it.
        scores: against it.
        masks: are loaded or scored.
        keypoints: their number, where they are loaded or scored.
        lvis: takes LVIS's classes, all of the file by their places.
        federated: scores by LVIS's rules, and not by pycocotools.
        urls: LVIS v1 finds images by ``coco_url``.
        classes: that a config takes; None for all of the file.
        filter_cfg: of the data set.
        elsewhere: categories with annotations in other files that are trained on.
    """

    trains: bool = True
    scores: bool = True
    masks: bool = False
    keypoints: int | None = None
    lvis: bool = False
    federated: bool = False
    urls: bool = False
    classes: tuple[str, ...] | None = None
    filter_cfg: dict = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Problem:
    """One kind of thing that is wrong in a file.

    Args:
        kind: a word for it.
        level: as of :class:`~rethink.checks.findings.Finding`.
        what: one sentence, with number and first offenders.
        fix: what to do.
        sure: it is so; otherwise the numbers suggest it, and a person may know better.
    """

    kind: str
    level: str
    what: str
    fix: str
    sure: bool = True


def problems(a: Annotations, use: Use) -> Iterator[Problem]:
    """What is wrong in a file, for a use."""
    if a.bom:
        yield Problem(
            'bom', 'error', f'{a.path} begins with a byte order mark, at which pycocotools ends.',
            "write it without: encoding='utf-8', not 'utf-8-sig'",
        )  # fmt: skip
    absent = [name for name in ('images', 'categories') if name not in a.sections]
    if absent:
        what = f'{a.path} has no list {" and no list ".join(map(repr, absent))}, so it is no COCO annotation file.'
        yield Problem('no-coco', 'error', what, 'name an annotation file in the format of COCO')
        return
    if not a.categories:
        what = f'{a.path} lists no category, so that nothing in it has a class.'
        yield Problem('no-categories', 'error', what, 'write the categories, each with id and name')
        return
    seen = _Seen(a, use)
    for look in (
        _ids,
        _references,
        _categories,
        _images,
        _boxes,
        _repeated,
        _areas,
        _crowds,
        _federated,
        _masks,
        _keypoints,
        _left,
    ):
        yield from look(a, use, seen)


class _Seen:
    """What several rules ask of a file."""

    def __init__(self, a: Annotations, use: Use) -> None:
        self.image = _lookup(a.image_ids, a.of_image)
        self.category_ids = np.array([code_of(one.get('id')) for one in a.categories], np.int64)
        self.category = _lookup(self.category_ids, a.of_category)
        chosen = [use.classes is None or use.lvis or one.get('name') in use.classes for one in a.categories]
        self.chosen = np.array(chosen, bool)
        both = self.category[(self.category >= 0) & (self.image >= 0)]
        self.counts = np.bincount(both, minlength=len(a.categories))
        # Of their images, NaN where there is none: the last place, which -1 means.
        sizes = np.vstack([a.sizes, np.full((1, 2), np.nan, np.float32)])
        self.sizes = np.stack([sizes[:, 0][self.image], sizes[:, 1][self.image]]).T

    @property
    def wanted(self) -> np.ndarray:
        """Objects of an image and of a class."""
        found = (self.image >= 0) & (self.category >= 0)
        found[found] = self.chosen[self.category[found]]
        return found


def _lookup(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last place of each value among the keys, -1 where it is not."""
    if not len(keys):
        return np.full(len(values), -1)
    if keys.min() >= 0 and keys.max() < 8 * len(keys) + (1 << 20):  # a table of all ids is smaller than the columns
        table = np.full(keys.max() + 2, -1)
        table[keys] = np.arange(len(keys))
        return table[np.where((values >= 0) & (values <= keys.max()), values, -1)]
    order = np.argsort(keys, kind='stable')
    place = np.searchsorted(keys, values, side='right', sorter=order) - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (keys[found] == values), found, -1)


def _some(a: Annotations, where: np.ndarray, what: str = 'annotations') -> str:
    """Such as ``3 of 20 annotations (ids 4, 7, 9)``."""
    ids = a.image_ids if what == 'images' else a.ids
    first = [str(a.id_of(code)) for code in ids[np.flatnonzero(where)[:4]]]
    number = int(where.sum())
    more = f' and {number - len(first):,} more' if number > len(first) else ''
    return f'{number:,} of {len(ids):,} {what} (id {", ".join(first)}{more})'


def _faulty(a: Annotations, kind: str, words: dict[Fault, str], fix: str) -> Iterator[Problem]:
    for fault, how in words.items():
        where = (a.faults & fault) > 0
        if where.any():
            yield Problem(kind, 'error', f'{_some(a, where)} of {a.path} {how}.', fix)


# --- ids -------------------------------------------------------------------------------------------------------------


def _ids(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    for what, ids, why in (
        ('image', a.image_ids, 'the last hides the others and gets the boxes of all'),
        ('annotation', a.ids, 'MMDetection refuses such a file'),
        ('category', seen.category_ids, 'all classes behind them move by one'),
    ):
        if len(ids) and (ids == NONE).any():
            number = int((ids == NONE).sum())
            yield Problem('no-id', 'error', f'{number:,} of {len(ids):,} entries of {what} in {a.path} have no id.',
                          'write the file with ids')  # fmt: skip
        known = np.sort(ids[ids != NONE])
        twice = np.unique(known[1:][known[1:] == known[:-1]])
        if len(twice):
            names = ', '.join(str(a.id_of(code)) for code in twice[:4]) + (', …' if len(twice) > 4 else '')
            sentence = f'{a.path} gives {len(twice):,} {what} ids more than once ({names}): {why}.'
            yield Problem(f'duplicate-{what}-ids', 'error', sentence, 'number them anew, each once')
    text = [what for what, ids in (('image', a.image_ids), ('annotation', a.ids), ('category', seen.category_ids))
            if ((ids < TEXT) & (ids != NONE)).any()]  # fmt: skip
    if text:
        examples = some_names(str(one) for one in list(a.texts.values())[:4])
        no_number = [one for code, one in a.texts.items() if not str(one).isdecimal() and (a.ids == code).any()]
        # pycocotools keeps the ids of annotations in an array of numbers.
        ends = use.scores and bool(no_number)
        what = f'{a.path} has {" and ".join(text)} ids that are no integers ({examples})'
        what += ', at which pycocotools ends in validation.' if ends else ', which other tools do not find again.'
        yield Problem('text-ids', 'error' if ends else 'warning', what, 'write ids as numbers')
    if use.scores and (a.ids == 0).any():
        what = f'{a.path} has an annotation with the id 0, which pycocotools counts as missed and '
        what += 'whoever finds it as wrong.'
        yield Problem('id-0', 'warning', what, 'number annotations from 1')


def _references(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    for codes, key in ((a.of_image, 'image_id'), (a.of_category, 'category_id')):
        if (codes == NONE).any():
            what = f'{_some(a, codes == NONE)} of {a.path} have no {key}, at which pycocotools ends.'
            yield Problem('no-reference', 'error', what, 'write it, or take them out')
    lost = (seen.image < 0) & (a.of_image != NONE)
    if lost.any():
        what = f'{_some(a, lost)} of {a.path} are of images that it does not list ({_values(a, a.of_image[lost])})'
        texts = ((a.image_ids < TEXT).any(), (a.of_image[lost] < TEXT).any())
        mixed = ', ids being text in the one list and numbers in the other' if texts[0] != texts[1] else ''
        level = 'error' if lost.all() or mixed else 'warning'
        yield Problem('unknown-images', level, f'{what}{mixed}: MMDetection leaves them out.',
                      'list the images, or take these annotations out')  # fmt: skip
    lost = (seen.category < 0) & (a.of_category != NONE)
    if lost.any():
        what = f'{_some(a, lost)} of {a.path} are of categories that it does not define '
        what += f'({_values(a, a.of_category[lost])})'
        fix = 'correct the ids of categories'
        empty = {int(code) for code, number in zip(seen.category_ids, seen.counts, strict=True) if not number}
        codes, known = {int(code) for code in np.unique(a.of_category)}, {int(code) for code in seen.category_ids}
        for step in (1, -1):
            if known and empty and codes <= {code + step for code in known}:
                what += f': all are one too {"high" if step > 0 else "low"}, so that every box trains as another class'
                fix = f'{"take 1 from" if step > 0 else "add 1 to"} every category_id'
                break
        else:
            if (seen.category_ids < TEXT).any() != (a.of_category[lost] < TEXT).any():
                what += ', ids being text in the one list and numbers in the other'
            what += ': their objects become background'
        yield Problem('unknown-categories', 'error', f'{what}.', fix)


def _values(a: Annotations, codes: np.ndarray) -> str:
    values = [repr(a.id_of(code)) for code in np.unique(codes)[:5]]
    return ', '.join(values[:4]) + (', …' if len(values) > 4 else '')


# --- categories ------------------------------------------------------------------------------------------------------


def _categories(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    names = [one.get('name') for one in a.categories]
    odd = [repr(one) for one in names if not isinstance(one, str)]
    if odd:
        what = f'{len(odd)} of {len(names)} categories of {a.path} have no name, or one that is no text ({odd[0]}).'
        yield Problem('category-names', 'error', what, 'write a text for each')
        return
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    if twice and not use.lvis:
        what = (
            f'{a.path} has {len(twice)} names of categories under several ids ({some_names(twice)}): MMDetection '
            'gives each id a label of its own, which are more than the classes.'
        )
        yield Problem('duplicate-names', 'error', what, 'give each name one id, and its annotations that')
    if not len(a.ids):
        if not use.trains and not use.scores:  # such as COCO's test images, whose predictions are written alone
            return
        none = 'no annotation' if 'annotations' in a.sections else "no list 'annotations'"
        what = f'{a.path} has {none}, so there is nothing to {"train" if use.trains else "find"}'
        yield Problem('no-annotations', 'error', f'{what}.', 'name a file with annotations')
        return
    empty = [one for one, number, chosen in zip(a.categories, seen.counts, seen.chosen, strict=True)
             if chosen and not number and one['name'] not in use.elsewhere]  # fmt: skip
    if not empty:
        return
    some = [one['name'] for one, number in zip(a.categories, seen.counts, strict=True) if number]
    first = f' ({GROUP})' if is_group(a.categories, seen.counts) else ''
    what = f'{len(empty)} of {len(names)} categories of {a.path} have no annotation '
    what += f'({some_names(one["name"] for one in empty)}){first}, and each is a class that is never seen.'
    level = 'warning' if use.trains and not use.lvis else 'note'
    yield Problem('empty-categories', level, what, f'leave them out: {set_classes(some)}')


GROUP = "the first is the name of the group that Roboflow's export writes, not a class"


def is_group(categories: list[dict], counts) -> bool:
    """Roboflow's first category: the supercategory of the others, without an annotation."""
    if len(categories) < 2 or counts[0] or categories[0].get('supercategory') not in ('none', None):
        return False
    return all(one.get('supercategory') == categories[0].get('name') for one in categories[1:])


def set_classes(names: list[str]) -> str:
    """What to write for these classes."""
    shown = str(tuple(names)) if len(names) <= 20 else f'(…), the {len(names)} that have annotations'
    return f'metainfo = dict(classes={shown}) in each data set, and num_classes = {len(names)} in the heads'


# --- images ----------------------------------------------------------------------------------------------------------


def _images(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    without = (a.image_faults & Fault.NO_SIZE) > 0
    if without.any():
        what = f'{_some(a, without, "images")} of {a.path} have no width or no height, which MMDetection needs.'
        yield Problem('no-size', 'error', what, 'write both, in pixels')
    bad = ((a.image_faults & Fault.BAD_SIZE) > 0) | (a.sizes <= 0).any(1)
    if bad.any():
        what = f'{_some(a, bad, "images")} of {a.path} have a width or height that is no number above 0.'
        yield Problem('bad-size', 'error', what, 'write both, in pixels')
    unnamed = np.array([not one for one in a.urls], bool) if use.urls else (a.image_faults & Fault.NO_NAME) > 0
    if unnamed.any():
        what = f'{_some(a, unnamed, "images")} of {a.path} have no {"coco_url" if use.urls else "file_name"}.'
        yield Problem('no-file-name', 'error', what, 'write it, below data_prefix')
    names = a.urls if use.urls else a.names
    if len(set(names)) < len(names):
        named, numbers = np.unique(np.array(names, object)[~unnamed].astype(str), return_counts=True)
        if (numbers > 1).any():
            what = f'{a.path} lists {(numbers > 1).sum():,} images more than once under several ids '
            what += f'({some_names(named[numbers > 1].tolist())}): '
            what += 'what one entry has is background in the other.'
            yield Problem('duplicate-images', 'warning', what, 'list each once, with the annotations of all')


# --- boxes -----------------------------------------------------------------------------------------------------------


def _boxes(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    words = {Fault.NO_BOX: 'have no bbox', Fault.BAD_BOX: 'have a bbox that is not four numbers'}
    yield from _faulty(a, 'bad-boxes', words, 'write x, y, width and height in pixels')
    infinite = np.isinf(a.boxes).any(1)
    if infinite.any():
        yield Problem('infinite-box', 'error', f'{_some(a, infinite)} of {a.path} have an infinite bbox.',
                      'write numbers')  # fmt: skip
    no_number = np.isnan(a.boxes).any(1) & ((a.faults & (Fault.NO_BOX | Fault.BAD_BOX)) == 0)
    if no_number.any():
        what = f'{_some(a, no_number)} of {a.path} have a bbox with NaN: {_DROPPED}.'
        yield Problem('nan-box', 'warning', what, 'write numbers, or take them out')
    good = np.isfinite(a.boxes).all(1) & np.isfinite(seen.sizes).all(1) & (seen.sizes > 0).all(1)
    if not good.any():
        return
    boxes, sizes = (a.boxes, seen.sizes) if good.all() else (a.boxes[good], seen.sizes[good])
    if ((boxes >= 0) & (boxes <= 1)).all():
        what = f'all boxes of {a.path} lie between 0 and 1, as if in parts of the image instead of pixels.'
        yield Problem('relative-boxes', 'error', what, 'multiply them by width and height', sure=False)
        return
    other = meant(boxes, sizes, OF_COCO)
    if other:
        reading, reaching = other
        what = (
            f'{reaching:,} of {len(boxes):,} boxes of {a.path} reach out of their images as x, y, width and '
            f'height, and as {reading.words} all fit.'
        )
        yield Problem(reading.kind, 'error', what, reading.fix, sure=False)
        return
    small = np.zeros(len(a.ids), bool)
    small[good] = (boxes[:, 2:] < 1).any(1)
    if small.any():
        negative = int((boxes[:, 2:] < 0).any(1).sum())
        more = f' ({negative:,} of them negative)' if negative else ''
        what = f'{_some(a, small)} of {a.path} have a box of less than a pixel in width or height{more}: {_DROPPED}.'
        yield Problem('small-boxes', 'warning', what, 'correct them, or take them out')
    outside = np.zeros(len(a.ids), bool)
    shown = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
    outside[good] = (shown <= 0).any(1) & ~small[good]
    if outside.any():
        what = f'{_some(a, outside)} of {a.path} have a box outside of the image: {_DROPPED}.'
        yield Problem('boxes-outside', 'warning', what, 'correct boxes or sizes of images')
    out = np.zeros(len(a.ids), bool)
    reach = over(boxes, sizes)
    out[good] = (reach > SLACK) & ~outside[good] & ~small[good]
    far = np.zeros(len(a.ids), bool)
    far[good] = reach > TIMES * sizes.max(1)
    if (out & far).any():
        most = float(reach[(out & far)[good]].max())
        what = f'{_some(a, out & far)} of {a.path} have a box that sticks out by {TIMES} times the size of its image '
        what += f'and more, up to {most:.3g} pixels.'
        yield Problem('boxes-far-out', 'error', what, 'correct them, or take them out', sure=False)
    out &= ~far
    if out.any():
        most = float(reach[out[good]].max())
        what = f'{_some(a, out)} of {a.path} have a box that sticks out of its image, by up to {most:.0f} pixels.'
        yield Problem('boxes-sticking-out', 'warning', what, 'correct them; MMDetection trains them as they are')


_DROPPED = 'MMDetection leaves it out of training without a word, and as validation data it counts as missed'


def _repeated(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    yield from repeated(a, use.scores)


def repeated(a: Annotations, scores: bool) -> Iterator[Problem]:
    """The same box of the same class in the same image."""
    keys = np.zeros(len(a.ids), np.uint64)
    for column in (a.of_image, a.of_category, *np.ascontiguousarray(a.boxes.T).view(np.int32)):
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + column.astype(np.uint64)
        keys ^= keys >> np.uint64(29)
    order = np.argsort(keys, kind='stable')
    again = np.zeros(len(keys), bool)
    again[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    again &= np.isfinite(a.boxes).all(1) & (a.crowd == 0)
    if again.any():
        what = f'{_some(a, again)} of {a.path} repeat another one: the same box of the same class in the same image'
        what += ', of which validation counts one as missed.' if scores else ', which is trained twice.'
        level = 'warning' if again.mean() >= _TWICE else 'note'
        yield Problem('repeated', level, what, 'take them out')


def _kept(a: Annotations, seen: _Seen) -> np.ndarray:
    """Objects that ``CocoDataset`` does not leave out."""
    with np.errstate(invalid='ignore'):
        shown = np.minimum(a.boxes[:, :2] + a.boxes[:, 2:], seen.sizes) - np.maximum(a.boxes[:, :2], 0)
        kept = (shown > 0).all(1) & (a.boxes[:, 2:] >= 1).all(1) & ~(a.areas <= 0)
    return kept & seen.wanted & ((a.faults & Fault.IGNORED) == 0)


def _areas(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    ends = 'at which MMDetection ends'
    words = {Fault.NO_AREA: f'have no area, {ends}', Fault.BAD_AREA: f'have an area that is no number, {ends}'}
    yield from _faulty(a, 'no-area', words, 'write it: of the mask, or width times height')
    with np.errstate(invalid='ignore'):
        none = (a.areas <= 0) & (a.boxes[:, 2:] >= 1).all(1)
    if none.any() and none.sum() == (a.boxes[:, 2:] >= 1).all(1).sum():
        what = f'all {len(a.ids):,} annotations of {a.path} have area 0, so that MMDetection would train on none.'
        yield Problem('area-0', 'error', what, 'write it: of the mask, or width times height')
    elif none.any():
        what = f'{_some(a, none)} of {a.path} have a box and area 0: {_DROPPED}.'
        yield Problem('area-0', 'warning', what, 'write it: of the mask, or width times height')


def _crowds(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    without = (a.faults & Fault.NO_CROWD) > 0
    if use.scores and not use.federated and without.any():
        what = f'{_some(a, without)} of {a.path} have no iscrowd, at which the first validation ends (pycocotools).'
        yield Problem('no-iscrowd', 'error', what, 'write "iscrowd": 0')
    bad = (a.faults & Fault.BAD_CROWD) > 0
    if bad.any():
        what = f'{_some(a, bad)} of {a.path} have an iscrowd that is neither 0 nor 1; text is true, even "0".'
        yield Problem('bad-iscrowd', 'error', what, 'write 0 or 1')
    elif len(a.ids) and (a.crowd > 0).all():
        what = f'all {len(a.ids):,} annotations of {a.path} are crowds, which are neither trained nor scored.'
        yield Problem('all-crowds', 'error', what, 'write "iscrowd": 0 for single objects')


def _federated(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    """What LVIS's evaluation asks of each image and category."""
    if not (use.scores and use.federated):
        return
    ends = 'at which the first validation ends (lvis)'
    for flag, key, fix in (
        (Fault.NEGATIVES, 'neg_category_ids', 'the ids of classes that it was searched for in vain'),
        (Fault.NOT_EXHAUSTIVE, 'not_exhaustive_category_ids', 'the ids of classes of which it has unlabelled objects'),
    ):
        without = (a.image_faults & flag) == 0
        if without.any():
            what = f'{_some(a, without, "images")} of {a.path} have no list {key}, {ends}.'
            yield Problem('lvis-images', 'error', what, f'write {fix}, [] where there is none{_OR_COCO}')
    names = [str(one.get('name')) for one in a.categories if one.get('frequency') not in FREQUENCIES]
    if names:
        what = f'{len(names)} of {len(a.categories)} categories of {a.path} have no frequency, or another one than '
        what += f"'r', 'c' and 'f' ({some_names(names)}), {ends}."
        fix = "write 'r' for a class in up to 10 training images, 'c' in up to 100, 'f' in more"
        yield Problem('lvis-categories', 'error', what, f'{fix}{_OR_COCO}')


_OR_COCO = '; or score data that are labelled for all classes with CocoMetric'


# --- masks and keypoints ---------------------------------------------------------------------------------------------


def _masks(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    if not use.masks or not len(a.ids):
        return
    # What is left out before its mask is looked at does no harm; scoring looks at all.
    looked = np.ones(len(a.ids), bool) if use.scores else _kept(a, seen)
    for kind, words, ends in (
        (Mask.NONE, 'have no segmentation or an empty one', True),
        (Mask.FLAT, 'have a segmentation that is a flat list of numbers instead of a list of polygons', True),
        (Mask.WRONG, 'have a segmentation of other things than numbers, or an RLE that does not fit its size', True),
        (Mask.SHORT, 'have a segmentation without a polygon of three points or a whole RLE', use.scores),
        (Mask.PARTLY, 'have some polygons of fewer than three points', use.scores),
    ):
        where = looked & (a.masks == kind)
        if where.any():
            then = 'a run that needs masks ends at it' if ends else 'MMDetection does not train them'
            ends = ends or where.sum() == looked.sum()
            fix = 'write polygons [[x1, y1, x2, y2, x3, y3, …]], or take a detector without masks'
            what = f'{_some(a, where)} of {a.path} {words}: {then}.'
            yield Problem('masks', 'error' if ends else 'warning', what, fix)
    here, elsewhere = ((a.faults & fault) > 0 for fault in (Fault.MASK_HERE, Fault.MASK_ELSEWHERE))
    if (looked & elsewhere).sum() > (looked & here).sum():
        number = int((looked & (here | elsewhere)).sum())
        what = f'{_some(a, looked & elsewhere)} of {a.path} have polygons that do not lie where their boxes are'
        what += f' (looked at {number:,}), as if they were of an image of another size, or in parts of it.'
        yield Problem('masks-elsewhere', 'error', what, 'write both in pixels of the image as it is', sure=False)
    of_images = np.nan_to_num(seen.sizes[:, ::-1], nan=0)
    other = looked & (a.masks == Mask.RLE) & (of_images > 0).all(1) & (a.mask_sizes != of_images).any(1)
    if other.any():
        first = np.flatnonzero(other)[0]
        said, is_so = a.mask_sizes[first].tolist(), of_images[first].astype(int).tolist()
        what = (
            f'{_some(a, other)} of {a.path} have an RLE of another size than their image ({said}, and [height, width] '
        )
        what += f'is {is_so}): a run that needs masks ends at it.'
        yield Problem('rle-size', 'error', what, 'write the masks of the images as they are')


def _keypoints(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    if use.keypoints is None or not len(a.ids):
        return
    numbers, said, labelled = a.keypoints.T
    looked = np.ones(len(a.ids), bool) if use.scores else _kept(a, seen)
    fix = 'use a person_keypoints_*.json'
    without = looked & (numbers < 0)
    if without.any():
        yield Problem('no-keypoints', 'error', f'{_some(a, without)} of {a.path} have no keypoints.', fix)
    # That its categories have another number than the config is for the rule of keypoints.
    named = {len(one['keypoints']) for one in a.categories if isinstance(one.get('keypoints'), list)} - {0}
    many = named.pop() if len(named) == 1 else use.keypoints
    other = looked & (numbers >= 0) & (numbers != 3 * many)
    if other.any():
        what = f'{_some(a, other)} of {a.path} have not 3 numbers for each of {many} keypoints.'
        yield Problem('keypoint-numbers', 'error', what, 'write x, y and visibility of each')
    if use.scores and (looked & (numbers >= 0) & (said < 0)).any():
        what = f'{_some(a, looked & (numbers >= 0) & (said < 0))} of {a.path} have no num_keypoints.'
        yield Problem('num-keypoints', 'error', what, 'write how many keypoints are labelled')
    wrong = looked & (numbers >= 0) & (said >= 0) & (said != labelled)
    if wrong.any():
        what = f'{_some(a, wrong)} of {a.path} have a num_keypoints that is not the number of labelled ones.'
        yield Problem('num-keypoints', 'warning', what, 'write how many have a visibility above 0')
    if (numbers >= 0).any() and not (labelled > 0).any():
        what = f'no keypoint of {a.path} is labelled (visibility above 0), so there is nothing to train.'
        yield Problem('no-labelled-keypoints', 'error', what, fix)
    yield from _points(a, looked & (numbers == 3 * many), seen)


def _points(a: Annotations, looked: np.ndarray, seen: _Seen) -> Iterator[Problem]:
    """Values of keypoints that are as many as there should be."""
    bad = looked & ((a.points & Points.NO_NUMBER) > 0)
    if bad.any():
        what = f'{_some(a, bad)} of {a.path} have keypoints of other things than numbers (null, NaN, text), of which '
        what += 'the targets of a training are none either, or at which it ends.'
        yield Problem('bad-keypoints', 'error', what, 'write numbers, and 0, 0, 0 for a point that is not labelled')
    other = looked & ((a.points & Points.VISIBILITY) > 0)
    if other.any():
        what = (
            f'{_some(a, other)} of {a.path} have keypoints with a visibility that is none of 0, 1 and 2; above 0 it '
        )
        what += 'counts as labelled.'
        fix = 'write 0 for not labelled, 1 for hidden, 2 for visible, behind x and y'
        yield Problem('visibility', 'error', what, fix, sure=False)
    rows = np.flatnonzero(a.keypoints[:, 2] > 0)
    good = looked[rows] & np.isfinite(a.extents).all(1) & (seen.sizes[rows] > 0).all(1) & ~bad[rows]
    rows, extents = rows[good], a.extents[good]
    if not len(rows):
        return
    if ((extents >= 0) & (extents <= 1)).all() and (extents % 1 > 0).any():
        what = f'all keypoints of {a.path} lie between 0 and 1, as if in parts of the image instead of pixels.'
        yield Problem('relative-keypoints', 'error', what, 'multiply them by width and height', sure=False)
        return
    boxes = a.boxes[rows]
    with np.errstate(invalid='ignore'):
        near = (extents[:, 2:] >= boxes[:, :2] - boxes[:, 2:]) & (extents[:, :2] <= boxes[:, :2] + 2 * boxes[:, 2:])
    away = np.zeros(len(a.ids), bool)
    away[rows] = ~near.all(1) & np.isfinite(boxes).all(1)
    if 2 * away.sum() > len(rows):
        what = (
            f'{_some(a, away)} of {a.path} have keypoints that do not lie where their boxes are, as if of an image of '
        )
        what += 'another size, in parts of it, or with y before x.'
        yield Problem('keypoints-elsewhere', 'error', what, 'write both in pixels of the image as it is', sure=False)
        return
    over = np.maximum(extents[:, 2:] - seen.sizes[rows], -extents[:, :2]).max(1)
    far, out = np.zeros(len(a.ids), bool), np.zeros(len(a.ids), bool)
    far[rows] = over > TIMES * seen.sizes[rows].max(1)
    out[rows] = (over > SLACK) & ~far[rows]
    if far.any():
        what = f'{_some(a, far)} of {a.path} have a labelled keypoint outside of its image by {TIMES} times its size '
        what += f'and more, up to {float(over.max()):.3g} pixels.'
        yield Problem('keypoints-far-out', 'error', what, 'correct them, or set their visibility to 0', sure=False)
    if out.any():
        what = f'{_some(a, out)} of {a.path} have a labelled keypoint outside of its image, which is not trained, and '
        what += 'counts where it is scored.'
        yield Problem('keypoints-outside', 'warning', what, 'correct them, or set their visibility to 0')


# --- what is left ----------------------------------------------------------------------------------------------------


def _left(a: Annotations, use: Use, seen: _Seen) -> Iterator[Problem]:
    """Objects and images that a training gets, or that a validation should not lose."""
    # Where a file has none of the classes, their rule tells that, and all that is to set.
    if not len(a.ids) or not (use.trains or use.filter_cfg) or not seen.chosen.any():
        return
    left, small, full = _not_filtered(a, use, seen)
    if not use.trains:
        if not left.all():
            what = f'{_some(a, ~left, "images")} of {a.path} are left out of what is evaluated, by filter_cfg.'
            yield Problem(
                'filtered', 'error', what, 'set test_mode=True in the data set, with which nothing is left out'
            )
        return
    kept = _kept(a, seen) & (a.crowd == 0)
    known = (a.faults & (Fault.NO_BOX | Fault.BAD_BOX | Fault.NO_AREA | Fault.BAD_AREA)) == 0
    if not kept.any() and known.any() and not (a.crowd > 0).all():
        what = f'none of the {len(a.ids):,} annotations of {a.path} is left to train on: what is wrong with boxes, '
        what += 'areas, ids or classes leaves all of them out.'
        yield Problem('nothing-left', 'error', what, 'correct what the other lines name')
    least, only_full = use.filter_cfg.get('min_size', 0), bool(use.filter_cfg.get('filter_empty_gt'))
    if len(left) and not left.any():
        what = (
            f'filter_cfg leaves none of the {len(left):,} images of {a.path} ({(~full).sum():,} without an object, '
            f'{small.sum():,} below {least} pixels).'
        )
        yield Problem('no-image-left', 'error', what, 'change filter_cfg, or the file')
        return
    if small.any():
        what = f'{_some(a, small, "images")} of {a.path} have a side of fewer than {least} pixels and are left out.'
        yield Problem('small-images', 'warning', what, 'set filter_cfg.min_size lower to train on them')
    if only_full and not full.all():
        what = f'{_some(a, ~full, "images")} of {a.path} have no object and are left out of training.'
        yield Problem('empty-images', 'note', what, 'set filter_cfg.filter_empty_gt=False to train on them')


def _not_filtered(a: Annotations, use: Use, seen: _Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that ``filter_cfg`` leaves, those that are too small for it, and those that have objects."""
    full = np.zeros(len(a.image_ids), bool)
    full[seen.image[seen.wanted]] = True
    with np.errstate(invalid='ignore'):
        small = a.sizes.min(1, initial=np.inf) < use.filter_cfg.get('min_size', 0)
    return ~small & (full if use.filter_cfg.get('filter_empty_gt') else True), small, full
