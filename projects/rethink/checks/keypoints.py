"""Rule of keypoints: the file has them for each class, and they are those, in this order, of data set, flip and head.

A keypoint is a place in a list, as a class is: the head has a heat map for each place, the flip swaps the pairs that
names say, and COCO's metric has a sigma for each of its 17.
"""

import os
import re
from collections.abc import Iterator

from ..config_tree import items, type_name
from ..datasets.class_names import bare
from ..datasets.person import PERSON_KEYPOINTS
from .datasets import AnnotationFile, Dataset
from .facts import Facts
from .findings import Finding, rule

_WHOLE = 'write the names of keypoints to its category, and keypoints and num_keypoints to each annotation'
_SIDES = dict(l='left', r='right')
_OTHER = dict(left='right', right='left')


@rule('keypoints', ends=True)
def keypoints(facts: Facts) -> Iterator[Finding]:
    head = _head(facts)
    said, first = set(), None
    for one in facts.used:
        own = is_of_keypoints(one)
        if one.file and one.annotations.endswith('.json') and (own or (head and one.path.startswith('train'))):
            found = list(_of_file(facts, one, own, head))
            said |= {one.annotations} if found else set()
            yield from found
        if own:
            first = first or one
            if one.annotations not in said:
                yield from _of_others(one, first)
            yield from _of_flips(facts, one)
    for place, evaluator in facts.evaluators:
        path = evaluator.get('ann_file')
        of_keypoints = type_name(evaluator.get('type')) == 'CocoKeypointMetric'
        asked = of_keypoints and 'keypoints' in evaluator.get('metric', 'keypoints')
        if asked and isinstance(path, str) and path not in said and os.path.isfile(path):
            yield from _of_metric(place, facts.file(path))


def is_of_keypoints(one: Dataset) -> bool:
    from ..datasets.coco_keypoint import CocoKeypointDataset

    return one.is_a(CocoKeypointDataset)


def names_of(one: Dataset) -> list[str]:
    """The keypoints of a data set, in its order."""
    return list((one.cfg.get('metainfo') or {}).get('keypoints') or one.kind.METAINFO['keypoints'])


def names_in(category: dict) -> list[str] | None:
    """The keypoints of a category; None where it has none, or numbers and nothing in the place of names."""
    names = category.get('keypoints')
    named = (
        isinstance(names, list) and names and all(isinstance(one, str) and not _NONE.fullmatch(one) for one in names)
    )
    return names if named else None


_NONE = re.compile(r'[\W\d_]*')


def same_name(one: str, other: str) -> bool:
    """Whether two names are one: ``left_eye``, ``Left Eye``, ``leftEye``, ``eye_left``, ``L_Eye``."""
    return bare(one) == bare(other) or _words(one) == _words(other)


def _words(name: str) -> list[str]:
    """Sorted, with whole words for sides."""
    apart = re.sub(r'(?<=[a-z])(?=[A-Z])|(?<=^left)|(?<=^right)', ' ', name)
    words = [word.casefold() for word in re.findall(r'[^\W\d_]+|\d+', apart)]
    return sorted(_SIDES.get(word, word) for word in words) or [name]


def _as(names: list[str], others: list[str]) -> str:
    """``'same'``, the same in another ``'order'``, or ``'other'``."""
    if len(names) == len(others) and all(map(same_name, names, others)):
        return 'same'
    there = [any(same_name(one, other) for other in others) for one in names]
    return 'order' if len(names) == len(others) and all(there) else 'other'


def _head(facts: Facts) -> dict:
    return (facts.model.get('roi_head') or {}).get('keypoint_head') or {}


# --- files -----------------------------------------------------------------------------------------------------------


def _of_file(facts: Facts, one: Dataset, own: bool, head: dict) -> Iterator[Finding]:
    every = one.file.categories or []
    categories = [its for its in every if one.classes is None or its['name'] in one.classes]
    if own and not categories and every and all(_has(its) for its in every) and one.file.has('num_keypoints'):
        return  # Of other classes, which their rule tells, with all that is to set.
    if not _whole(one.file, categories):
        yield _none(one.path, one.file)
        return
    wanted = {f'names in metainfo of {one.path}': len(names_of(one))} if own else {}
    wanted['heat maps in keypoint_head'] = head.get('num_keypoints')
    found, wrong = {len(its['keypoints']) for its in categories}, False
    named = next((names for its in categories if (names := names_in(its))), None)
    for what, number in wanted.items():
        if number and found != {number}:
            wrong, numbers = True, ', '.join(map(str, sorted(found)))
            there = f'{one.file.path} of {one.path} has {numbers} keypoints for each object, but there are '
            there += f'{number} {what}.'
            fix = 'correct that number, or name the annotations that have it'
            if own and named and len(found) == 1:
                settings = all_to_set(facts, one, categories[0])
                fix = f'set {settings}; or name the annotations that have it' if settings else fix
            yield Finding('error', one.path, there, fix=fix)
    if not own or wrong:
        return
    if named is None:
        what = f'{one.file.path} of {one.path} does not name its keypoints, whose order is not known then.'
        yield Finding('note', one.path, what, _WHY, 'docs/keypoints.md', 'write their names to its category')
        return
    yield from _compared(facts, one, categories, names_of(one))


_WHY = 'a flip swaps left and right by the names, and COCO has a sigma for each.'


def _compared(facts: Facts, one: Dataset, categories: list[dict], wanted: list[str]) -> Iterator[Finding]:
    for category in categories:
        names = names_in(category)
        kind = 'same' if names is None else _as(names, wanted)
        if kind == 'same':
            continue
        settings = f'set {all_to_set(facts, one, category)}'
        order = kind == 'order'
        how = 'lists the keypoints of' if order else 'has other keypoints than'
        what = f'{one.file.path} {how} {one.path}{" in another order than metainfo" * order} ({_both(names, wanted)}).'
        fix = f'write the keypoints of its category and of every annotation in this order: {tuple(wanted)}'
        if not order:
            fix = f'{settings}; or, where the points are the same, give them these names: {tuple(wanted)}'
        elif not _scored(facts):
            fix += f'; or, if all files have that order, {settings}'
        # What a point is called may be said in other words.
        yield Finding('error', one.path, what, _WHY, fix=fix, sure=order)
        return


def _scored(facts: Facts) -> bool:
    return any(type_name(one.get('type')) == 'CocoKeypointMetric' for _, one in facts.evaluators)


def _of_others(one: Dataset, first: Dataset) -> Iterator[Finding]:
    names, firsts = names_of(one), names_of(first)
    if _as(names, firsts) != 'same':
        what = f'metainfo of {one.path} has other keypoints than that of {first.path} ({_both(names, firsts)}).'
        why = 'a heat map would be of one point in the one and of another in the other.'
        yield Finding('error', one.path, what, why, fix=f'give both the same, and their files: {tuple(firsts)}')


def _of_metric(place: str, file: AnnotationFile) -> Iterator[Finding]:
    categories, wanted = file.categories or [], list(PERSON_KEYPOINTS)
    if not _whole(file, categories):
        yield _none(place, file)
        return
    fix = f'name annotations with these, or score the boxes alone: metric="bbox" in {place}'
    for category in categories:
        number, names = len(category['keypoints']), names_in(category)
        if number != len(wanted):
            what = f'{file.path} of {place} has {number} keypoints for each object, and CocoKeypointMetric scores the '
            what += f'{len(wanted)} of COCO.'
            yield Finding('error', place, what, 'the first validation ends.', fix=fix)
            return
        kind = 'same' if names is None else _as(names, wanted)
        if kind == 'order':
            what = f'{file.path} of {place} lists the keypoints of COCO in another order ({_both(names, wanted)}).'
            fix = f'write the keypoints of its category and of every annotation in this order: {tuple(wanted)}'
            yield Finding('error', place, what, 'the sigmas of OKS would be those of other points.', fix=fix)
        elif kind == 'other':
            what = f'{file.path} of {place} has other keypoints than COCO ({_both(names, wanted)}).'
            why = 'they are scored with the sigmas of these, which others would have to be measured for.'
            yield Finding(
                'warning', place, what, why, 'docs/keypoints.md', f'compare runs by it, and nothing else; or {fix}'
            )
        else:
            continue
        return


def _has(category: dict) -> bool:
    return isinstance(category.get('keypoints'), list) and bool(category['keypoints'])


def _whole(file: AnnotationFile, categories: list[dict]) -> bool:
    """Beside the categories, the annotations: pycocotools needs this entry in each."""
    return bool(categories) and all(map(_has, categories)) and file.has('num_keypoints')


def _none(place: str, file: AnnotationFile) -> Finding:
    what = f'{file.path} of {place} has no keypoints, which this config trains or evaluates.'
    return Finding('error', place, what, fix=f'use a person_keypoints_*.json, or {_WHOLE}')


# --- what is set with them -------------------------------------------------------------------------------------------


def all_to_set(facts: Facts, one: Dataset, category: dict, classes: str = '') -> str:
    """All that is to set for the keypoints of a category, where they are not those of a data set.

    Args:
        classes: what else to write to metainfo, such as ``classes=('dog',)``.
    """
    names, more = names_in(category), []
    metainfo = [classes] if classes else []
    if names and _as(names, names_of(one)) != 'same':
        bones = category.get('skeleton')
        good = isinstance(bones, list) and all(
            isinstance(bone, list) and len(bone) == 2 and all(end in range(1, len(names) + 1) for end in bone)
            for bone in bones
        )
        skeleton = tuple(tuple(names[end - 1] for end in bone) for bone in bones) if good else ()
        metainfo += [f'keypoints={tuple(names)}', f'skeleton={skeleton}']
        flips = dict.fromkeys(
            place for its in facts.used for place, _ in _flips(facts.steps(its), f'{its.path}.pipeline')
        )
        more += [f'keypoint_names of KeypointRandomFlip in {place} to these keypoints' for place in flips]
    if names and _head(facts).get('num_keypoints') not in (None, len(names)):
        more.append(f'model.roi_head.keypoint_head.num_keypoints = {len(names)}')
    parts = ', '.join(dict.fromkeys(its.path for its in facts.used))
    whole = [f'metainfo = dict({", ".join(metainfo)}) in {parts}'] if metainfo else []
    return ', and '.join([*whole, *more])


def _flips(tree, place: str) -> Iterator[tuple[str, dict]]:
    """Flips of keypoints in a pipeline, and within its transforms."""
    for _, step in items(tree):
        if isinstance(step, dict) and type_name(step.get('type')) == 'KeypointRandomFlip':
            yield place, step
        elif isinstance(step, dict | list | tuple):
            yield from _flips(step, place)


def _of_flips(facts: Facts, one: Dataset) -> Iterator[Finding]:
    from ..datasets.coco_keypoint import mirrored_order

    names = names_of(one)
    words = [_words(name) for name in names]
    others = [sorted(_OTHER.get(word, word) for word in some) for some in words]
    pairs = [words.index(other) if other in words else at for at, other in enumerate(others)]
    for place, step in _flips(facts.steps(one), f'{one.path}.pipeline'):
        swapped = list(step.get('keypoint_names') or PERSON_KEYPOINTS)
        try:
            wrong = mirrored_order(swapped) != pairs
        except ValueError as error:
            what = f'KeypointRandomFlip in {place} cannot swap left and right: {error}'
            fix = 'give keypoints of both sides names that differ in left and right alone, and both files these names'
            yield Finding('error', place, what, fix=fix)
            continue
        if wrong:
            what = (
                f'KeypointRandomFlip in {place} swaps other keypoints than {one.path} has ({_both(swapped, names)}).'
            )
            # As mirrored_order finds sides.
            spelled = tuple(
                '_'.join(some) if _OTHER.keys() & {*some} else name for name, some in zip(names, words, strict=True)
            )
            yield Finding('error', place, what, fix=f'set its keypoint_names={spelled}')


def _both(one: list[str], other: list[str]) -> str:
    """From the first place in which they differ."""
    pairs = enumerate(zip(one, other, strict=False))
    at = next((index for index, pair in pairs if not same_name(*pair)), min(len(one), len(other)))
    some = [
        ', '.join(map(repr, names[at : at + 3])) + ', …' * (len(names) > at + 3) or 'no more' for names in (one, other)
    ]
    return f'from place {at + 1} on {some[0]} and {some[1]}'
