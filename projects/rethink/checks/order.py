"""Rule of the order of classes: a label is a place in a list, and all who read it have the same list.

MMDetection's ``CocoDataset`` and ``CocoMetric`` look categories up by name and take them in the order of the *file*
(``get_cat_ids``), not in that of ``metainfo.classes``; those of LVIS look at no name at all. So where two files, or a
file and the config, list the same classes in another order, a label means one class in training and another one in
evaluation, and nobody says so.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

from mmengine.config import Config

from ..config_tree import is_remote
from ..datasets.class_names import bare
from ..errors import ConfigError, say
from ..reuse import tool
from ..trust.checkpoints import read_content
from .datasets import AnnotationFile, Dataset
from .facts import Facts
from .findings import Finding, rule

_WHY = (
    'MMDetection takes the classes in the order of the file, so a label would mean one class here and another one '
    'there.'
)
_OF_LVIS = 'LVIS has a label for each place, whatever it is called.'


@rule('order', ends=True)
def order(facts: Facts) -> Iterator[Finding]:
    """Files against their classes, data sets against each other, and a checkpoint's classes against theirs."""
    first: Dataset | None = None
    said = set()
    for place, file, one, by_id in _files(facts):
        for finding in _of_file(place, file, one.classes, by_id) if file.path not in said else ():
            said.add(file.path)
            yield replace(finding, fix=f'{finding.fix} {_rewrite(file.path, _right(facts, file, one), by_id)}')
    yield from _of_lvis(facts, said)
    for one in facts.used:
        if one.classes is None or one.kind is None or (one.file and one.file.path in said):
            continue
        first = first or one
        if one.classes != first.classes and sorted(one.classes) == sorted(first.classes):
            both = _both(one.classes, first.classes)
            what = f'{one.path} has the classes of {first.path} in another order ({both}).'
            why = 'a label would mean one class in the one and another class in the other.'
            yield Finding('error', one.path, what, why, fix=f'set its metainfo.classes to {_tuple(first.classes)}')
    yield from of_checkpoint(facts)


def _files(facts: Facts) -> Iterator[tuple[str, AnnotationFile, Dataset, bool]]:
    """Files in which categories are looked up: for whom, the data set whose labels they are, and whether by id."""
    from mmdet.datasets import CocoDataset, LVISV05Dataset
    from mmdet.evaluation import CocoMetric, LVISMetric

    for one in facts.used:
        if one.is_a(CocoDataset) and one.classes is not None and one.file:
            yield one.path, one.file, one, one.is_a(LVISV05Dataset)
    for place, evaluator in facts.evaluators:
        path = evaluator.get('ann_file')
        of = [one for one in facts.datasets[place.split('_')[0]] if one.classes is not None]
        if of and facts.metric_is(evaluator, CocoMetric) and isinstance(path, str) and os.path.isfile(path):
            yield place, facts.file(path), of[0], facts.metric_is(evaluator, LVISMetric)


def _of_file(place: str, file: AnnotationFile, names: list[str], by_id: bool) -> Iterator[Finding]:
    """LVIS's classes are those of the ids, in rising order, whatever they are called."""
    categories = file.categories or []
    if by_id:
        ids = [category.get('id') for category in categories]
        if all(isinstance(one, int) for one in ids) and ids != sorted(ids):
            what = f'{file.path} of {place} does not list its categories by rising id.'
            yield Finding('error', place, what, _WHY, fix='take the annotations as LVIS publishes them, or')
            return
        of_file = [category['name'] for category in categories]
        same = of_file != names and sorted(map(str, of_file)) == sorted(map(str, names))
        other = len(of_file) == len(names) and (same or bool(places_of_others(of_file, names)))
    else:
        of_file = _among(categories, names)
        other = of_file != names and sorted(of_file) == sorted(names)
    # Other classes, or one name under two ids, are for the rule of classes.
    if other:
        what = f'{file.path} lists the classes of {place} in another order than metainfo ({_both(of_file, names)}).'
        fix = f'if all files have its order set metainfo.classes of every data set to {_tuple(of_file)}, otherwise'
        yield Finding('error', place, what, _WHY, fix=fix)


def places_of_others(names: list[str], others: list[str]) -> list[int]:
    """Places of two lists of as many names in which one has a name that the other has in another place."""
    one, other = map(bare, names), list(map(bare, others))
    there = set(other)
    return [at for at, (mine, theirs) in enumerate(zip(one, other, strict=True)) if mine != theirs and mine in there]


def _of_lvis(facts: Facts, said: set) -> Iterator[Finding]:
    """Files of LVIS against the first: a label is a place in each, so that the same place has the same name."""
    files = ((place, file, one) for place, file, one, by_id in _files(facts) if by_id and file.categories)
    left = [(place, file, one) for place, file, one in files if file.path not in said]
    _, first, its = left[0] if left else (None, None, None)
    # Of a data set their number is for the rule of classes.
    alone = {place for place, _ in facts.evaluators}
    for place, file, one in left:
        if file.path in said:
            continue
        names, firsts = ([str(category['name']) for category in some.categories] for some in (file, first))
        if len(names) != len(firsts) and place in alone:
            said.add(file.path)
            what = f'{file.path} of {place} has {len(names)} categories, and {first.path} has {len(firsts)}.'
            yield Finding('error', place, what, _OF_LVIS, fix=f'give it the categories of {first.path}')
        if len(names) == len(firsts) and list(map(bare, names)) != list(map(bare, firsts)):
            said.add(file.path)
            what, fix = 'has other classes than', f'give it the categories of {first.path}'
            if sorted(names) == sorted(firsts):
                what, fix = 'lists in another order the classes of', _rewrite(file.path, first.path, True)
            what = f'{file.path} of {place} {what} {first.path} ({_both(names, firsts)}).'
            fix += f', and set metainfo.classes of {one.path} to {_tuple(its.classes)}' * (one.classes != its.classes)
            yield Finding('error', place, what, _OF_LVIS, fix=fix)


def _among(categories: list[dict], names: list[str]) -> list[str]:
    known = set(names)
    return [category['name'] for category in categories if category['name'] in known]


def _right(facts: Facts, wrong: AnnotationFile, one: Dataset) -> str:
    """Another file, whose order is that of the classes."""
    files = (file for _, file, _, _ in _files(facts) if file.path != wrong.path)
    right = (file.path for file in files if _among(file.categories or [], one.classes) == one.classes)
    return next(right, 'RIGHT.json')


def _rewrite(path: str, like: str, by_id: bool = False) -> str:
    ids = ' --ids' if by_id else ''
    return f'write it anew with `{tool("dataset_converters/order_categories.py")} {path} --like {like}{ids}`'


def check_checkpoint(cfg: Config, stage: str = 'train', content=None) -> None:
    """``load_from`` has the classes of a run, in their order.

    Args:
        content: what is in it, where that is not a file on this machine.

    Raises:
        ConfigError: they are in another order, or others in a test.
    """
    for finding in of_checkpoint(Facts(cfg, stage=stage), content):
        if finding.level == 'error':
            raise ConfigError(replace(finding, ends=True).sentence())
        say(finding.sentence())


def of_checkpoint(facts: Facts, content=None) -> Iterator[Finding]:
    """What ``load_from`` says that its labels mean, against the first data set of the run.

    A test counts by it, and a training that resumes goes on with it; one that begins with its weights can still learn
    which is which, from worse than nothing.
    """
    path = facts.cfg.get('load_from')
    one = next((one for one in facts.used if one.classes is not None and one.kind is not None), None)
    if one is None or not path or (content is None and (is_remote(path) or not os.path.isfile(path))):
        return
    goes_on = facts.stage == 'test' or facts.cfg.get('resume')
    try:
        names = classes_in(read_content(path, 'checkpoint') if content is None else content)
    except ConfigError:
        if goes_on:
            raise
        return  # told when its weights are looked at, and no reason to leave out what else there is to say
    if names is None or len(names) != len(one.classes) or names == one.classes:
        return
    same = sorted(map(str, names)) == sorted(one.classes)
    how = 'in another order' if same else 'with other names'
    what = f'{path} was trained on as many classes as {one.path} has, {how} ({_both(names, one.classes)}).'
    set_them = f'set its metainfo.classes to {_tuple(names)}'
    if facts.stage == 'test':
        why = 'what it calls by one name would be counted as another.'
        yield Finding('error', one.path, what, why, fix=f'{set_them}, or name its data')
    elif facts.cfg.get('resume'):
        why = 'what it learnt as one class goes on as another.'
        fix = f'{set_them}, or begin anew in another work directory'
        yield Finding('error' if same else 'warning', one.path, what, why, fix=fix)
    elif same:
        why = 'the classifier begins with the weights of other classes.'
        yield Finding('warning', one.path, what, why, fix=set_them)


def classes_in(content) -> list | None:
    """The names that a checkpoint was trained with, in the order of its labels; None where it does not say.

    ``meta.dataset_meta.classes`` of MMEngine, and ``meta.CLASSES`` of MMDetection 2.
    """
    meta = content.get('meta') if isinstance(content, dict) else None
    places = [meta.get('dataset_meta'), meta] if isinstance(meta, dict) else []
    for place in places:
        for key in ('classes', 'CLASSES'):
            names = place.get(key) if isinstance(place, dict) else None
            if isinstance(names, list | tuple):
                return list(names)
    return None


def _both(one: list[str], other: list[str]) -> str:
    """From the first place in which they differ."""
    pairs = list(zip(one, other, strict=True))
    differ = [index for index, (mine, theirs) in enumerate(pairs) if bare(mine) != bare(theirs)]
    at = next(iter(differ or (index for index, (mine, theirs) in enumerate(pairs) if mine != theirs)))
    more = ', …' if len(one) > at + 3 else ''
    names = [', '.join(map(repr, map(str, some[at : at + 3]))) + more for some in (one, other)]
    return f'from place {at + 1} on {names[0]} and {names[1]}'


def _tuple(names: list[str]) -> str:
    return str(tuple(names)) if len(names) <= 12 else f'({", ".join(map(repr, names[:3]))}, …)'
