"""Rules of data: enough of it, the same classes everywhere, no image of validation in training, what heads ask for."""

import mmap
import os
from collections.abc import Iterator

from mmengine.registry import DATASETS

from ...config_tree import type_name
from ...errors import ConfigError
from .. import preflight
from .facts import Dataset, Facts
from .findings import Finding, rule

# Between the published 10k images, where scratch still matches, and 3.5k, where it does not.
ENOUGH = 10_000


@rule('little-data')
def little_data(facts: Facts) -> Iterator[Finding]:
    images = facts.train_images
    if facts.from_scratch is None or images is None or images >= ENOUGH:
        return
    yield Finding(
        'warning',
        facts.datasets['train'][0].path,
        f'training from scratch on {images:,} images.',
        'published on COCO: level with fine-tuning at 10k images (25.9 and 26.0 AP), far behind at 3.5k (9.3 and '
        '16.0): it over-fits.',
        'Rethinking ImageNet Pre-training, section 5.2',
        'begin with a pre-trained backbone (model.backbone.init_cfg)',
    )


@rule('classes')
def classes(facts: Facts) -> Iterator[Finding]:
    # Of training and its validation: a test may be of another set of classes, in another run.
    for part in ('train', 'val'):
        for one in facts.datasets[part]:
            kind = _class(facts, one)
            if kind is None:
                continue
            known = one.cfg if one.there else {**one.cfg, 'ann_file': ''}
            try:
                names = preflight._check_classes(one.path, known, kind, bool(facts.cfg.get('allow_class_subset')))
                if names is not None and facts.detector:
                    preflight._check_num_classes(facts.model, one.path, names, kind)
            except ConfigError as error:
                what, fix = _halves(error, '; ' if '; set' in str(error) else ': ')
                yield Finding(
                    'error',
                    one.path,
                    f'{what}.',
                    'MMDetection drops the boxes of classes that a config lacks, trains nothing for those that a file '
                    'lacks, and says neither.',
                    'docs/tools.md, what is checked before training',
                    fix,
                )


def _halves(error: ConfigError, between: str) -> tuple[str, str]:
    """What is wrong and what to do, of a sentence that may have the first alone."""
    what, found, fix = str(error).rstrip('.').rpartition(between)
    return (what, fix) if found else (fix, 'name the annotations that belong to the data set, or write them again')


def _class(facts: Facts, one: Dataset):
    kind = one.cfg.get('type')
    if not isinstance(kind, str):
        return kind
    return DATASETS.get(kind if '.' in kind else f'{facts.scope}.{kind}')


@rule('shared-images')
def shared_images(facts: Facts) -> Iterator[Finding]:
    for train in facts.datasets['train']:
        for val in facts.datasets['val']:
            if not train.annotations or not val.annotations:
                continue
            same = os.path.normpath(train.annotations) == os.path.normpath(val.annotations)
            shared = _files(train) & _files(val)
            if not shared and not (same and _folder(train) == _folder(val)):
                continue
            number = f'{len(shared):,} images' if shared else 'the same annotation file'
            yield Finding(
                'warning',
                val.path,
                f'validation and training share {number} ({val.annotations}).',
                'the accuracy that is reported is one on images that were trained on.',
                "MMDetection's split of COCO: train2017 and val2017",
                f'another ann_file in {val.path}',
            )


def _folder(one: Dataset) -> str:
    prefix = one.cfg.get('data_prefix') or ''
    prefix = next(iter(prefix.values()), '') if isinstance(prefix, dict) else prefix
    return os.path.normpath(os.path.join(one.cfg.get('data_root') or '', prefix or ''))


def _files(one: Dataset) -> set[str]:
    return {os.path.join(_folder(one), record['file_name']) for record in one.records or ()}


@rule('masks')
def masks(facts: Facts) -> Iterator[Finding]:
    """A head of Mask R-CNN needs masks: the pipeline's to load, the file's to have."""
    if not (facts.model.get('roi_head') or {}).get('mask_head'):
        return
    for one in facts.datasets['train']:
        loads = [step for step in _steps(facts, one) if type_name(step.get('type')) == 'LoadAnnotations']
        if loads and not any(step.get('with_mask') for step in loads):
            yield Finding(
                'error',
                f'{one.path}.pipeline',
                'model.roi_head has a mask_head, and the pipeline loads no masks.',
                'training ends at its first step.',
                'MMDetection, LoadAnnotations',
                "dict(type='LoadAnnotations', with_bbox=True, with_mask=True)",
            )
        elif one.there and one.annotations.endswith('.json') and not _has(one.annotations, b'"segmentation"'):
            yield Finding(
                'error',
                one.path,
                f'model.roi_head has a mask_head, and {one.annotations} has no segmentation.',
                'there is nothing to train it with.',
                "COCO's format of annotations",
                'a file with masks, or a detector without mask_head (Faster R-CNN)',
            )


@rule('keypoints')
def keypoints(facts: Facts) -> Iterator[Finding]:
    if not (facts.model.get('roi_head') or {}).get('keypoint_head'):
        return
    for one in facts.datasets['train']:
        if not one.there or not one.annotations.endswith('.json'):
            continue
        try:
            preflight._check_keypoints(one.path, one.annotations, preflight._classes(one.cfg, _class(facts, one)))
        except ConfigError as error:
            what, fix = _halves(error, '; ')
            yield Finding(
                'error',
                one.path,
                f'{what}.',
                'there is nothing to train the head with.',
                "COCO's format of annotations",
                fix,
            )


def _steps(facts: Facts, one: Dataset) -> list[dict]:
    """The transforms of a data set and of what wraps it."""
    wrapper = (facts.cfg.train_dataloader or {}).get('dataset') or {}
    return [step for owner in (one.cfg, wrapper) for step in owner.get('pipeline') or [] if isinstance(step, dict)]


def _has(path: str, words: bytes) -> bool:
    with open(path, 'rb') as file:
        if os.fstat(file.fileno()).st_size == 0:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(words) >= 0
