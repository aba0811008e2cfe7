"""Rules of evaluation: what is measured is measured on the images that are evaluated, and has a name."""

import os
from collections.abc import Iterator

from mmengine.config import ConfigDict

from ..config_tree import type_name
from ..errors import some_names
from ..evaluation.names import asked, names_of, texts, unknown_items
from ..reuse import tool
from .datasets import Dataset, nested
from .facts import Facts
from .findings import Finding, rule

_CAP = 100


def _metrics(facts: Facts) -> Iterator[tuple[str, str, dict]]:
    """Part, dotted name and config of each metric with an annotation file, as LVIS's has one too."""
    from mmdet.evaluation import CocoMetric

    for name, metric in facts.evaluators:
        path = metric.get('ann_file')
        if facts.metric_is(metric, CocoMetric) and isinstance(path, str) and os.path.isfile(path):
            yield name.partition('_')[0], name, metric


@rule('evaluated-images', ends=True)
def evaluated_images(facts: Facts) -> Iterator[Finding]:
    """The metric counts every object of its file, those of images that are not evaluated as missed."""
    for part, name, metric in _metrics(facts):
        datasets = facts.datasets[part]
        whole = [one for one in datasets if one.cfg.get('indices') is None]
        for one in datasets:
            if one not in whole:
                what = (
                    f'{one.path}.indices takes some images, and {name} evaluates all of {metric["ann_file"]}: the '
                    'objects of the others would count as missed.'
                )
                fix = (
                    f'write an annotation file of these images ({tool("dataset_converters/coco_subset.py")}) and '
                    'name it in both, or take indices away'
                )
                yield Finding('error', f'{one.path}.indices', what, fix=fix)
        yield from _repeated(facts, part, name)
        if datasets and whole == datasets and all(one.file for one in datasets):
            yield from _of_other_file(facts, name, metric['ann_file'], datasets)


def _repeated(facts: Facts, part: str, name: str) -> Iterator[Finding]:
    """Wrappers that give an image more than once, so that what is found again is wrong."""
    whole = (facts.cfg.get(f'{part}_dataloader') or {}).get('dataset')
    for place, one in nested(whole, f'{part}_dataloader.dataset'):
        kind = type_name(one.get('type'))
        if kind == 'ClassBalancedDataset' or (kind == 'RepeatDataset' and one.get('times') != 1):
            what = f'{place} is a {kind}, which gives images several times, and {name} knows each once: what is found '
            what += 'again would count as wrong.'
            yield Finding('error', place, what, fix='name the data set within it in its place')


def _of_other_file(facts: Facts, name: str, path: str, datasets: list[Dataset]) -> Iterator[Finding]:
    if len(datasets) == 1 and os.path.samefile(path, datasets[0].annotations):
        return
    evaluated = facts.file(path).images
    records = [one.records for one in datasets]
    if evaluated is None or None in records:
        return
    every = [evaluated, *records]
    # LVIS has no names, but addresses.
    key = next((key for key in ('file_name', 'coco_url') if all(key in one for some in every for one in some)), None)
    theirs = {_image(one, key) for one in evaluated}
    ours = {_image(one, key) for some in records for one in some}
    files = ' and '.join(one.annotations for one in datasets)
    fix = f'name the annotation file of the data set in {name}.ann_file'
    if len(datasets) > 1:
        fix = 'write one file of all their images and name it in both'
    if theirs != ours or sum(map(len, records)) != len(evaluated):
        what = (
            f'{name} evaluates by {path}, and {datasets[0].path} reads {files}: {len(ours - theirs)} of its '
            f'{len(ours)} images are not in that file, and {len(theirs - ours)} in it would count as missed.'
        )
        yield Finding('error', f'{name}.ann_file', what, fix=fix)
    else:
        what = f'{name} evaluates by {path}, which has the same images as {files}: the AP is by those annotations.'
        yield Finding('warning', f'{name}.ann_file', what, fix=f'if that is not meant, {fix}')


def _image(record: dict, key: str | None) -> tuple:
    return str(record.get('id')), record.get(key)


@rule('metric-items', ends=True)
def metric_items(facts: Facts) -> Iterator[Finding]:
    """Names that a metric does not have: COCO's ends at the first validation, LVIS's leaves them out."""
    for name, metric in facts.evaluators:
        wrong, known = unknown_items(metric)
        if wrong:
            what = (
                f'{name}.metric_items names {some_names(wrong)}, which {type_name(metric["type"])} does not measure.'
            )
            why = (
                'the first validation ends with a KeyError'
                if 'Coco' in type_name(metric['type'])
                else 'it is not logged'
            )
            yield Finding('error', f'{name}.metric_items', what, why, fix=f'name some of {", ".join(known)}')


@rule('proposal-nums', ends=True)
def proposal_nums(facts: Facts) -> Iterator[Finding]:
    from mmdet.evaluation import CocoMetric, LVISMetric

    for name, metric in facts.evaluators:
        numbers = metric.get('proposal_nums')
        if metric.get('use_mp_eval'):  # AP is that of the largest number, however many there are
            continue
        of_numbers = isinstance(numbers, list | tuple) and all(isinstance(one, int) for one in numbers)
        if not of_numbers or not facts.metric_is(metric, CocoMetric) or facts.metric_is(metric, LVISMetric):
            continue
        wanted = set(asked(metric))
        measured = [*texts(metric.get('metric_items')), *(['AR@100'] if 'proposal' in wanted else [])]
        wrong = None
        if {'bbox', 'segm', 'proposal'} & wanted and len(numbers) < 3:
            wrong = 'pycocotools needs three numbers, and ends with an IndexError after the whole evaluation'
        elif {'bbox', 'segm'} & wanted and _CAP not in numbers:
            wrong = f'AP is that of {_CAP} detections an image, and without this number it would be -1'
        elif any(item.startswith('AR') for item in measured) and sorted(numbers)[:3] != [100, 300, 1000]:
            wrong = f'what is logged as AR@100 would be that of {min(numbers)} detections'
        if wrong:
            what = f'{name}.proposal_nums is {tuple(numbers)}: {wrong}.'
            yield Finding('error', f'{name}.proposal_nums', what, fix='leave it away, which is (100, 300, 1000)')


@rule('save-best', ends=True)
def save_best(facts: Facts) -> Iterator[Finding]:
    if facts.stage != 'train' or not facts.cfg.get('val_evaluator'):
        return
    names = names_of(facts.cfg)
    for place, hook in _hooks(facts.cfg):
        monitor = hook.get('monitor') if type_name(hook.get('type')) == 'EarlyStoppingHook' else None
        if names and isinstance(monitor, str) and monitor not in names:
            what = f'{place}.monitor is {monitor!r}, which no metric of validation is named ({some_names(names)}).'
            why = 'the hook warns of it after each validation, and the training never stops'
            yield Finding('error', f'{place}.monitor', what, why, fix='name one of these')
        watched = [*texts(hook.get('save_best')), *texts(monitor)]
        rising = [one for one in watched if hook.get('rule') == 'less' and one in (names or [])]
        if rising:
            what = f'{place}.rule is less, and {rising[0]} is better the higher it is: the best would be the worst.'
            yield Finding('error', f'{place}.rule', what, fix="rule='greater'")
        for one in texts(hook.get('save_best')):
            if names and one != 'auto' and one not in names:
                what = f'{place}.save_best is {one!r}, which no metric of validation is named ({some_names(names)}).'
                why = 'MMEngine looks for it after the first validation, and ends with a KeyError'
                yield Finding('error', f'{place}.save_best', what, why, fix='name one of these')


def _hooks(cfg) -> Iterator[tuple[str, ConfigDict]]:
    default = cfg.get('default_hooks') or {}
    custom = cfg.get('custom_hooks') or []
    named = {f'default_hooks.{key}': hook for key, hook in default.items()}
    named |= {f'custom_hooks[{index}]': hook for index, hook in enumerate(custom)}
    yield from ((name, hook) for name, hook in named.items() if isinstance(hook, dict))
