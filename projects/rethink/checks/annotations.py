"""What an annotation file says that a run would end with, or be worth nothing by: every object looked at, once.

What is an error and what a warning follows from what MMDetection and pycocotools do with it, which docs/data.md lists:
an error ends a run, or trains or scores something else than is meant; a warning is left out, or is suspicious.
"""

from collections.abc import Iterator

import numpy as np

from ..datasets.annotations import FREQUENCIES, NONE, TEXT, Annotations, Fault
from ..errors import some_names
from .objects import OF_OBJECTS
from .problems import Problem, Seen, Use, those, trainable


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
    seen = Seen(a, use)
    for look in (_ids, _references, _categories, _images, _federated, *OF_OBJECTS, _left):
        yield from look(a, use, seen)


# --- ids -------------------------------------------------------------------------------------------------------------


def _ids(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
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


def _references(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    for codes, key in ((a.of_image, 'image_id'), (a.of_category, 'category_id')):
        if (codes == NONE).any():
            what = f'{those(a, codes == NONE)} of {a.path} have no {key}, at which pycocotools ends.'
            yield Problem('no-reference', 'error', what, 'write it, or take them out')
    lost = (seen.image < 0) & (a.of_image != NONE)
    if lost.any():
        what = f'{those(a, lost)} of {a.path} are of images that it does not list ({_values(a, a.of_image[lost])})'
        texts = ((a.image_ids < TEXT).any(), (a.of_image[lost] < TEXT).any())
        mixed = ', ids being text in the one list and numbers in the other' if texts[0] != texts[1] else ''
        level = 'error' if lost.all() or mixed else 'warning'
        yield Problem('unknown-images', level, f'{what}{mixed}: MMDetection leaves them out.',
                      'list the images, or take these annotations out')  # fmt: skip
    lost = (seen.category < 0) & (a.of_category != NONE)
    if lost.any():
        what = f'{those(a, lost)} of {a.path} are of categories that it does not define '
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


def _categories(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
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


def _images(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    without = (a.image_faults & Fault.NO_SIZE) > 0
    if without.any():
        what = f'{those(a, without, "images")} of {a.path} have no width or no height, which MMDetection needs.'
        yield Problem('no-size', 'error', what, 'write both, in pixels')
    bad = ((a.image_faults & Fault.BAD_SIZE) > 0) | (a.sizes <= 0).any(1)
    if bad.any():
        what = f'{those(a, bad, "images")} of {a.path} have a width or height that is no number above 0.'
        yield Problem('bad-size', 'error', what, 'write both, in pixels')
    unnamed = np.array([not one for one in a.urls], bool) if use.urls else (a.image_faults & Fault.NO_NAME) > 0
    if unnamed.any():
        what = f'{those(a, unnamed, "images")} of {a.path} have no {"coco_url" if use.urls else "file_name"}.'
        yield Problem('no-file-name', 'error', what, 'write it, below data_prefix')
    names = a.urls if use.urls else a.names
    if len(set(names)) < len(names):
        named, numbers = np.unique(np.array(names, object)[~unnamed].astype(str), return_counts=True)
        if (numbers > 1).any():
            what = f'{a.path} lists {(numbers > 1).sum():,} images more than once under several ids '
            what += f'({some_names(named[numbers > 1].tolist())}): '
            what += 'what one entry has is background in the other.'
            yield Problem('duplicate-images', 'warning', what, 'list each once, with the annotations of all')


# --- what LVIS asks for ---------------------------------------------------------------------------------------------


def _federated(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
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
            what = f'{those(a, without, "images")} of {a.path} have no list {key}, {ends}.'
            yield Problem('lvis-images', 'error', what, f'write {fix}, [] where there is none{_OR_COCO}')
    names = [str(one.get('name')) for one in a.categories if one.get('frequency') not in FREQUENCIES]
    if names:
        what = f'{len(names)} of {len(a.categories)} categories of {a.path} have no frequency, or another one than '
        what += f"'r', 'c' and 'f' ({some_names(names)}), {ends}."
        fix = "write 'r' for a class in up to 10 training images, 'c' in up to 100, 'f' in more"
        yield Problem('lvis-categories', 'error', what, f'{fix}{_OR_COCO}')


_OR_COCO = '; or score data that are labelled for all classes with CocoMetric'


# --- what is left ----------------------------------------------------------------------------------------------------


def _left(a: Annotations, use: Use, seen: Seen) -> Iterator[Problem]:
    """Objects and images that a training gets, or that a validation should not lose."""
    # Where a file has none of the classes, their rule tells that, and all that is to set.
    if not len(a.ids) or not (use.trains or use.filter_cfg) or not seen.chosen.any():
        return
    left, small, full = _not_filtered(a, use, seen)
    if not use.trains:
        if not left.all():
            what = f'{those(a, ~left, "images")} of {a.path} are left out of what is evaluated, by filter_cfg.'
            yield Problem(
                'filtered', 'error', what, 'set test_mode=True in the data set, with which nothing is left out'
            )
        return
    kept = trainable(a, seen) & (a.crowd == 0)
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
        what = f'{those(a, small, "images")} of {a.path} have a side of fewer than {least} pixels and are left out.'
        yield Problem('small-images', 'warning', what, 'set filter_cfg.min_size lower to train on them')
    if only_full and not full.all():
        what = f'{those(a, ~full, "images")} of {a.path} have no object and are left out of training.'
        yield Problem('empty-images', 'note', what, 'set filter_cfg.filter_empty_gt=False to train on them')


def _not_filtered(a: Annotations, use: Use, seen: Seen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that ``filter_cfg`` leaves, those that are too small for it, and those that have objects."""
    full = np.zeros(len(a.image_ids), bool)
    full[seen.image[seen.wanted]] = True
    with np.errstate(invalid='ignore'):
        small = a.sizes.min(1, initial=np.inf) < use.filter_cfg.get('min_size', 0)
    return ~small & (full if use.filter_cfg.get('filter_empty_gt') else True), small, full
