"""Rules of validation and test data: the detector sees the images that the annotations are of, and a metric what it
asks for, which MMDetection finds out after the first epochs, or never."""

from collections.abc import Iterator

import numpy as np
from mmengine.registry import METRICS, TRANSFORMS

from ..config_tree import items, step_name, type_name
from ..errors import some_names
from ..evaluation.names import asked
from .datasets import Dataset
from .facts import Facts
from .findings import Finding, rule
from .ignored import class_words

_SOURCE = 'MMDetection, test pipelines of configs/_base_/datasets'
# In names of parts and classes of models that give masks.
_MASKS = ('mask', 'seg', 'ins', 'solo', 'panoptic')


def _scored(facts: Facts) -> Iterator[tuple[str, dict, type | None]]:
    """Part, metric and its class, of a detector."""
    for name, metric in facts.evaluators:
        if facts.detector and not metric.get('format_only'):
            kind = facts.class_of(METRICS, metric.get('type'))
            yield name, metric, kind if isinstance(kind, type) else None


def _pipelines(facts: Facts, part: str) -> Iterator[tuple[Dataset, list[dict]]]:
    for one in facts.datasets[part]:
        yield one, [step for step in one.cfg.get('pipeline') or [] if isinstance(step, dict)]


def _names(steps: list[dict]) -> list[str]:
    return [step_name(step.get('type')) for step in steps]


def moves(facts: Facts, step: dict) -> bool:
    """Whether it gives a part of the image, or one that lies otherwise; sizes are known when boxes are put back."""
    name = step_name(step.get('type'))
    inner = step.get('transforms')
    if isinstance(inner, list | tuple):  # such as ProposalBroadcaster
        return any(moves(facts, one) for one in inner if isinstance(one, dict))
    if 'Resize' in name or name.startswith(('Load', 'Pack', 'Filter', 'Pad')) or step.get('test_mode'):
        return False
    kind = facts.class_of(TRANSFORMS, step.get('type'))
    return step.get('prob') != 0 and ('gt_bboxes' in class_words(kind) or name in ('CutOut', 'RandomErasing'))


@rule('moved-images', ends=True)
def moved_images(facts: Facts) -> Iterator[Finding]:
    """As where the pipeline of training is taken for validation."""
    for part in dict.fromkeys(name.partition('_')[0] for name, _, _ in _scored(facts)):
        for one, steps in _pipelines(facts, part):
            moved = [type_name(step.get('type')) for step in steps if moves(facts, step)]
            if moved:
                what = f'{one.path}.pipeline changes the images that are evaluated ({", ".join(moved)}).'
                why = 'boxes are those of the changed image, and the annotations those of the file.'
                fix = 'leave that to the training data'
                yield Finding('error', f'{one.path}.pipeline', what, why, _SOURCE, fix)


@rule('evaluated-keys', ends=True)
def evaluated_keys(facts: Facts) -> Iterator[Finding]:
    """What a metric compares with, from its file or from the sample; what detectors ask for is in :mod:`.loaders`."""
    from mmdet.evaluation import CocoMetric, VOCMetric

    for name, metric, kind in _scored(facts):
        if kind is None:
            continue
        coco = issubclass(kind, CocoMetric)
        for one, steps in _pipelines(facts, name.partition('_')[0]):
            pack = next((step for step in steps if step_name(step.get('type')) == 'PackDetInputs'), None)
            if pack is None:
                continue
            keys = pack.get('meta_keys')
            if coco and not metric.get('ann_file') and 'instances' not in (keys or ()):
                what = f'{name} has no ann_file, and meta_keys of PackDetInputs in {one.path} no instances.'
                why = 'there is nothing to compare with, and the first validation ends.'
                fix = f'{name}.ann_file = {one.annotations!r}'
                yield Finding('error', f'{name}.ann_file', what, why, _SOURCE, fix)
            if issubclass(kind, VOCMetric):
                yield from _loaded_late(name, one, _names(steps))


def _loaded_late(name: str, one: Dataset, names: list[str]) -> Iterator[Finding]:
    """``VOCMetric`` compares with boxes of the sample, and detections are those of the image before it was resized."""
    loads = next((at for at, step in enumerate(names) if 'Annotations' in step and step.startswith('Load')), None)
    where = f'{one.path}.pipeline'
    if loads is None:
        what = f'{name} compares with the boxes of the sample, and {where} has no LoadAnnotations.'
        why = 'the first validation ends without.'
        yield Finding('error', where, what, why, _SOURCE, "dict(type='LoadAnnotations', with_bbox=True) after Resize")
        return
    resized = next((step for step in names[loads:] if 'Resize' in step), None)
    if resized:
        what = f'{resized} comes after {names[loads]} in {where}, and {name} compares with the boxes of the sample.'
        why = 'those are resized, and detections are given in pixels of the image as it was.'
        yield Finding('error', where, what, why, _SOURCE, f'{names[loads]} after {resized}')


@rule('evaluated-as', ends=True)
def evaluated_as(facts: Facts) -> Iterator[Finding]:
    """Metrics that the model gives nothing for, and thresholds that pycocotools does not summarise."""
    from mmdet.evaluation import CocoMetric, LVISMetric

    for name, metric, kind in _scored(facts):
        if kind is None or not issubclass(kind, CocoMetric):
            continue
        wanted = asked(metric)
        if 'segm' in wanted and not any(word in one.lower() for one in _words(facts.model) for word in _MASKS):
            what = f'{name}.metric asks for segm, and the model gives boxes alone.'
            why = 'the first validation ends with a KeyError.'
            yield Finding('error', f'{name}.metric', what, why, _SOURCE, f"{name}.metric = 'bbox'")
        thresholds, summarised = metric.get('iou_thrs'), {'bbox', 'segm', 'proposal', 'keypoints'} & set(wanted)
        if summarised and isinstance(thresholds, list | tuple | float) and not issubclass(kind, LVISMetric):
            what = f'{name}.iou_thrs is {thresholds}, and pycocotools looks for 0.5 and 0.75 in an array.'
            level, why = 'warning', 'mAP_50 and mAP_75 are -1.'
            if not _nothing_of_a_number():
                level, why = 'error', 'the first validation ends in it.'
            yield Finding(level, f'{name}.iou_thrs', what, why, _SOURCE, 'leave it away; mAP_50 is AP at 0.5')


def _words(model) -> Iterator[str]:
    """Keys and names of classes in a model."""
    for key, value in items(model):
        if isinstance(key, str):
            yield key
        if key == 'type':
            yield type_name(value)
        yield from _words(value)


def _nothing_of_a_number() -> bool:
    """NumPy before 2.1 takes a single truth value for an array."""
    try:
        return not len(np.nonzero(np.bool_(False))[0])
    except ValueError:
        return False


@rule('nothing-loaded', ends=True)
def nothing_loaded(facts: Facts) -> Iterator[Finding]:
    from mmdet.datasets import BaseDetDataset

    for one in facts.datasets['train'] if facts.detector and facts.stage == 'train' else ():
        steps = facts.steps(one)
        known = all(str(getattr(facts.class_of(TRANSFORMS, step.get('type')), '__module__', '')).startswith(
            ('mmdet.datasets', 'mmcv.', 'rethink.')) for step in steps)  # fmt: skip
        loads = [step for step in steps if 'Annotations' in step_name(step.get('type'))]
        if one.is_a(BaseDetDataset) and steps and known and not any(step.get('with_bbox', True) for step in loads):
            what = f'{one.path}.pipeline loads no boxes ({some_names(_names(steps))}).'
            fix = "dict(type='LoadAnnotations', with_bbox=True) after LoadImageFromFile"
            yield Finding('error', f'{one.path}.pipeline', what, 'training ends at its first step.', _SOURCE, fix)
