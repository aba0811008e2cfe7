"""Rules of images: enough of them to train from scratch, and none of validation in training."""

import os
from collections.abc import Iterator

from .datasets import Dataset
from .facts import Facts
from .findings import Finding, rule
from .voc import image_set

# Between the published 10k images, where scratch still matches, and 3.5k, where it does not.
ENOUGH = 10_000


@rule('little-data')
def little_data(facts: Facts) -> Iterator[Finding]:
    images = facts.train_images
    if facts.from_scratch is None or images is None or images >= ENOUGH:
        return
    yield Finding(
        'note' if facts.compared else 'warning',
        facts.datasets['train'][0].path,
        f'training from scratch on {images:,} images.',
        'published on COCO: level with fine-tuning at 10k images (25.9 and 26.0 AP), far behind at 3.5k (9.3 and '
        '16.0): it over-fits.',
        'Rethinking ImageNet Pre-training, section 5.2',
        'begin with a pre-trained backbone (model.backbone.init_cfg)',
    )


@rule('shared-images')
def shared_images(facts: Facts) -> Iterator[Finding]:
    for train in facts.datasets['train']:
        for val in facts.datasets['val']:
            if not train.annotations or not val.annotations:
                continue
            same = os.path.normpath(train.annotations) == os.path.normpath(val.annotations)
            shared = _files(facts, train) & _files(facts, val)
            if not shared and not (same and _folder(train) == _folder(val)):
                continue
            number = f'{len(shared):,} images' if shared else 'the same annotation file'
            what = f'validation and training share {number} ({val.annotations}).'
            why = 'the accuracy that is reported is one on images that were trained on.'
            source, fix = "MMDetection's split of COCO: train2017 and val2017", f'another ann_file in {val.path}'
            yield Finding('warning', val.path, what, why, source, fix)


def _folder(one: Dataset) -> str:
    first = one.prefixes[0] if one.prefixes else ''
    return os.path.normpath(os.path.join(one.cfg.get('data_root') or '', first))


def _files(facts: Facts, one: Dataset) -> set[str]:
    of_voc = image_set(facts, one)
    if of_voc is not None:
        return {os.path.normpath(os.path.join(of_voc.images, name)) for name in of_voc.names or () if name.strip()}
    folder = _folder(one)
    return {os.path.join(folder, name) for name in one.names_of(one.records or []) if name}
