"""Rule of classes: annotations, data set and head have the same."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..config_tree import is_remote, items, type_name
from ..datasets import voc as layout
from ..datasets.annotations import Annotations, objects_of_categories
from ..datasets.class_names import ALIKE, ONE_NAME, alike, bare, plain
from ..errors import some_names
from .annotations import GROUP, is_group
from .datasets import Dataset
from .facts import Facts
from .files import how_to_get
from .findings import Finding, rule
from .keypoints import all_to_set, is_of_keypoints
from .order import places_of_others
from .voc import image_set

_DROPPED = (
    'MMDetection drops the boxes of classes that a config lacks, trains nothing for those that a file lacks, and says '
    'neither.'
)


@rule('classes', ends=True)
def classes(facts: Facts) -> Iterator[Finding]:
    outputs = (facts.model.get('head') or {}).get('num_classes')
    said, wrong = set(), False
    for one in facts.used:
        text = (one.cfg.get('metainfo') or {}).get('classes')
        if isinstance(text, str) and not os.path.isfile(text):
            what = f'metainfo.classes of {one.path} is the text {text!r}, of which each letter would be a class.'
            wrong = True
            yield Finding('error', one.path, what, fix=f'write a tuple: classes=({text!r},)')
            continue
        if isinstance(text, set | frozenset):
            what = f'metainfo.classes of {one.path} is a set, whose order is another one in each run.'
            yield Finding('error', one.path, what, fix='write a tuple: (…) and not {…}')
            continue
        names = one.classes
        twice = sorted({name for name in names or () if names.count(name) > 1}, key=str)
        if twice:
            what = f'metainfo.classes of {one.path} names {some_names(twice)} more than once.'
            yield Finding('error', one.path, what, fix='name each class once, and correct num_classes')
            continue
        if names is not None:
            subset = bool(facts.cfg.get('allow_class_subset'))
            of_file = [*_of_coco(facts, one, names, subset), *_of_voc(facts, one, names, subset)]
            yield from of_file
            wrong |= any(finding.level == 'error' for finding in of_file)
            # Of wrong names the number is among what there is to set; one that does not fit may fit the right ones.
            if not any(found.level == 'error' for found in of_file) and len(names) not in said:
                said.add(len(names))
                yield from _of_heads(facts, one, names)
        if isinstance(outputs, int):
            yield from _of_folders(one, outputs)
            yield from _of_labels(one, outputs)
    if not wrong:
        yield from _never_seen(facts)


def _of_coco(facts: Facts, one: Dataset, names: list[str], subset: bool) -> Iterator[Finding]:
    from mmdet.datasets import CocoDataset, CocoPanopticDataset, LVISV05Dataset

    if not one.is_a(CocoDataset) or not one.file:
        return
    path, categories = one.annotations, one.file.categories
    if not categories or not all(isinstance(it['name'], str) for it in categories):
        # What is wrong in a file is for the rule of annotations, which does not look at panoptic ones.
        if one.is_a(CocoPanopticDataset):
            what = f'{path} of {one.path} has no list of categories, so it is not a COCO annotation file.'
            yield Finding('error', one.path, what, fix=how_to_get(path))
        return
    if one.is_a(LVISV05Dataset):
        yield from _of_lvis(facts, one, names)
        return
    there = {category['name'] for category in categories}
    absent, vanish = set(names) - there, there - set(names)
    if not absent and not vanish:
        return
    # Nothing is lost with a category that has no object, such as the name of the group in Roboflow's exports.
    numbers = one.file.numbers or [1] * len(categories)
    full = [category['name'] for category, number in zip(categories, numbers, strict=True) if number]
    vanish &= set(full)
    group = is_group(categories, numbers)
    has = f'the file has {some_names(there)}' + (f'; {GROUP}' if group else '')
    if absent:
        what = (
            f'{path} has no category for {len(absent)} of the {len(names)} classes of {one.path} '
            f'({some_names(absent)}; {has}).'
        )
        fix = _as_others(facts, one, names) or _all_at_once(facts, full or sorted(there))
        yield Finding('error', one.path, what, _DROPPED, fix=fix)
    elif vanish and not subset:
        what = (
            f'{path} has {len(vanish)} categories that are not among the classes of {one.path} ({some_names(vanish)}) '
            'and whose boxes would be dropped.'
        )
        fix = _as_others(facts, one, names) or _all_at_once(facts, full)
        fix = f'{fix}; or train without them, with allow_class_subset = True in the config'
        yield Finding('error', one.path, what, fix=fix)


def _of_lvis(facts: Facts, one: Dataset, names: list[str]) -> Iterator[Finding]:
    """LVIS's data sets take all classes of a file by their places, whatever they are called."""
    from mmdet.datasets import LVISV05Dataset, LVISV1Dataset

    path, of_file = one.annotations, [category['name'] for category in one.file.categories]
    if len(of_file) != len(names):
        has = f'{len(of_file)} categories and {one.path}, a {one.kind.__name__}, {len(names)} classes'
        versions = [kind.METAINFO['classes'] for kind in (LVISV05Dataset, LVISV1Dataset)]
        if any(len(of_file) == len(some) and set(of_file) & set(some) for some in versions):
            fix = 'name the annotations of the same version of LVIS'
        else:
            fix = _as_others(facts, one, names) or _all_at_once(facts, of_file)
        yield Finding('error', one.path, f'{path} has {has}.', fix=fix)
        return
    if places_of_others(of_file, names):  # for the rule of order
        return
    own = (one.cfg.get('metainfo') or {}).get('classes') is not None
    other = [(there, here) for there, here in zip(of_file, names, strict=True) if bare(there) != bare(here)]
    many = 2 * len(other) > len(names)
    if other and (own or many):
        pairs = ', '.join(f'{here!r} for {there!r}' for there, here in other[:3]) + ', …' * (len(other) > 3)
        what = f'{len(other)} of the {len(names)} classes of {one.path} are called otherwise in {path} ({pairs}).'
        why = (
            'LVIS has a label for each place, whatever it is called: what one class learns would be shown as another.'
        )
        source = 'docs/data.md'
        yield Finding('error' if many else 'warning', one.path, what, why, source, _all_at_once(facts, of_file))


def _of_voc(facts: Facts, one: Dataset, names: list[str], subset: bool) -> Iterator[Finding]:
    """Objects are found by name; MMDetection leaves out those of others and says nothing."""
    found = image_set(facts, one)
    a = found and found.annotations
    if a is None or layout.NO_XML in a.troubles:
        return
    there = _names_of(a)
    if not there:
        what = f'the images that {a.path} of {one.path} lists have no object.'
        yield Finding('error', one.path, what, fix='name an image set of labelled images')
        return
    known = {plain(name): name for name in names}
    near = {name: known[plain(name)] for name in set(there) - set(names) if plain(name) in known}
    lost = set(there) - set(names) - set(near)
    if lost == set(there):
        what = f'no object that {a.path} of {one.path} lists is of a class of the data set'
        yield Finding('error', one.path, f'{what} ({some_names(there)}).', fix=_all_of_voc(facts, one, names))
        return
    if near:
        pairs = ', '.join(f'{name!r} for {right!r}' for name, right in sorted(near.items())[:4])
        number = sum(there[name] for name in near)
        what = f'{number:,} objects that {a.path} of {one.path} lists have a class in another spelling ({pairs})'
        yield Finding('error', one.path, f'{what} and are left out.', fix='write the name as in metainfo.classes')
    if lost and not subset:
        what = (
            f'{sum(there[name] for name in lost):,} objects that {a.path} of {one.path} lists are of {len(lost)} '
            f'classes that the data set has not ({some_names(lost)}), and would be left out.'
        )
        fix = f'{_all_of_voc(facts, one, names)}; or train without them, with allow_class_subset = True in the config'
        yield Finding('error', one.path, what, fix=fix)


def _names_of(a: Annotations) -> dict[str, int]:
    """Name → its objects."""
    return dict(zip([one['name'] for one in a.categories], objects_of_categories(a), strict=True))


def _all_of_voc(facts: Facts, one: Dataset, names: list[str]) -> str:
    """All that is to set for the objects of all image sets: those of VOC's own 20 that none has are left out."""
    sets = [image_set(facts, other) for other in facts.used]
    there = {name for found in sets if found and found.annotations for name in _names_of(found.annotations)}
    if (one.cfg.get('metainfo') or {}).get('classes') is None or not there & set(names):
        return _all_at_once(facts, sorted(there))
    known = set(map(plain, names))
    return _all_at_once(facts, names + sorted(name for name in there if plain(name) not in known))


def _never_seen(facts: Facts) -> Iterator[Finding]:
    """Classes of VOC without an object in all of the training data."""
    sets = {one.path: image_set(facts, one) for one in facts.datasets['train'] if one in facts.used}
    read = {path: found.annotations for path, found in sets.items() if found and found.annotations}
    first = next((one for one in facts.datasets['train'] if one.path in read), None)
    if first is None or first.classes is None:
        return
    there = {name for a in read.values() for name in _names_of(a)}
    empty = [name for name in first.classes if name not in there]
    if empty and len(empty) < len(first.classes):
        what = f'{len(empty)} of {len(first.classes)} classes of {first.path} have no object ({some_names(empty)}).'
        fix = f'leave them out: {_all_at_once(facts, [name for name in first.classes if name in there])}'
        why = 'each is a class that is never seen.'
        yield Finding('warning', first.path, what, why, 'docs/data.md', fix)


@rule('alike-classes')
def alike_classes(facts: Facts) -> Iterator[Finding]:
    """Of a data set and its file; names in VOC's files that are another spelling are for the rule above."""
    from mmdet.datasets import CocoDataset

    said = set()
    for one in facts.used:
        names = [name for name in one.classes or () if isinstance(name, str)]
        if one.is_a(CocoDataset) and one.file:
            names += [its['name'] for its in one.file.categories or () if isinstance(its['name'], str)]
        for group in alike(names):
            if tuple(sorted(group)) not in said:
                said.add(tuple(sorted(group)))
                what = f'names of classes of {one.path} {ALIKE} ({", ".join(map(repr, group))}).'
                why = 'each is a class of its own, and what is found of the one is wrong for the other.'
                yield Finding('warning', one.path, what, why, 'docs/data.md', ONE_NAME)


def _as_others(facts: Facts, one: Dataset, names: list[str]) -> str | None:
    """What to do where the classes are those of another file, so that it is this one that differs."""
    for other in facts.used:
        theirs = other.file and other.annotations != one.annotations and other.file.categories
        if theirs and {its['name'] for its in theirs} >= set(names):
            return f'give it the categories of {other.annotations}, each under the same name'
    return None


def _all_at_once(facts: Facts, names: list[str]) -> str:
    """All that is to set for some classes."""
    shown = str(tuple(names)) if len(names) <= 20 else f'(…) with the {len(names)} names in the file'
    places = [place for place, number in head_classes(facts.model) if number != len(names)]
    heads = f', and {" and ".join(f"{place} = {len(names)}" for place in places)}' if places else ''
    for one in facts.used:
        categories = (one.file.categories if one.file else None) or []
        its = next(
            (category for category in categories if category['name'] in names and category.get('keypoints')), None
        )
        if its and is_of_keypoints(one):
            return f'set {all_to_set(facts, one, its, f"classes={shown}")}{heads}'
    parts = ', '.join(dict.fromkeys(one.path for one in facts.used))
    return f'set metainfo = dict(classes={shown}) in {parts}{heads}'


def _of_heads(facts: Facts, one: Dataset, names: list[str]) -> Iterator[Finding]:
    from mmdet.datasets import BaseVideoDataset

    # Classes are words in the one, and num_classes the longest sentence; the detector of a tracker finds some of those
    # that its videos have.
    if 'language_model' in facts.model or one.is_a(BaseVideoDataset):
        return
    # Of a panoptic data set, boxes and masks are of things alone.
    names = getattr(one.kind, 'METAINFO', {}).get('thing_classes') or names
    for place, number in head_classes(facts.model):
        if number != len(names):
            what = f'{place} is {number}, but {one.path} has {len(names)} classes.'
            fix = f'set it to {len(names)} or correct metainfo.classes of the data set'
            yield Finding('error', place, what, fix=fix)


def head_classes(model, path: str = 'model') -> Iterator[tuple[str, int]]:
    """The ``num_classes`` of the heads that predict the classes of the data set."""
    for key, value in items(model):
        # Masks of all classes may be one channel; semantic and panoptic heads count other things.
        agnostic = isinstance(value, dict) and value.get('class_agnostic')
        if key in ('bbox_head', 'mask_head') and not (key == 'mask_head' and agnostic):
            for index, head in enumerate(value if isinstance(value, list | tuple) else [value]):
                place = f'{path}.{key}[{index}]' if isinstance(value, list | tuple) else f'{path}.{key}'
                if isinstance(head, dict) and isinstance(head.get('num_classes'), int):
                    yield f'{place}.num_classes', head['num_classes']
        if key not in ('bbox_head', 'mask_head'):
            yield from head_classes(value, f'{path}.{key}')


# --- of a classifier -------------------------------------------------------------------------------------------------


def _of_folders(one: Dataset, outputs: int) -> Iterator[Finding]:
    """Each folder is a class."""
    if type_name(one.cfg.get('type')) != 'CustomDataset' or one.cfg.get('ann_file'):
        return
    prefix = one.cfg.get('data_prefix') or ''
    folder = one.join(prefix.get('img_path', '') if isinstance(prefix, dict) else prefix)
    if is_remote(folder) or one.cfg.get('with_label') is False or (one.cfg.get('metainfo') or {}).get('classes'):
        return
    found = sum(entry.is_dir() for entry in os.scandir(folder)) if os.path.isdir(folder) else outputs
    if found != outputs:
        what = f'model.head.num_classes is {outputs}, but {folder} of {one.path} has {found} folders, each a class.'
        yield Finding('error', one.path, what, fix=f'set it to {found} or correct the folder')


def _of_labels(one: Dataset, outputs: int) -> Iterator[Finding]:
    """MMPretrain's data sets have a file of classes, or a JSON file with classes and labels."""
    names, where = one.cfg.get('classes'), one.annotations
    if not where or not one.local:
        return
    if isinstance(names, str):
        where = names
        names = Path(where).read_text(encoding='utf-8').splitlines() if os.path.isfile(where) else None
    elif names is None and where.endswith('.json') and one.file:
        try:
            content = json.loads(Path(where).read_text(encoding='utf-8'))
        except ValueError:
            what = f'{where} of {one.path} is not JSON, it may be half-written.'
            yield Finding('error', one.path, what, fix='write it again')
            return
        names = (content.get('metainfo') or {}).get('classes')
    if names is not None and len(names) != outputs:
        what = f'model.head.num_classes is {outputs}, but {where} of {one.path} has {len(names)} classes.'
        yield Finding('error', one.path, what, fix=f'set it to {len(names)} or correct the data set')
