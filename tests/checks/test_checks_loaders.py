"""What comes out of a data loader, and what of it never does."""

import pytest
import settings
from checked import fails
from conftest import write_detector
from mmengine.config import Config

TRAIN, VAL = 'train_dataloader', 'val_dataloader'
LOAD, ANNOTATIONS = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
RESIZE, FLIP = dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackDetInputs', meta_keys=('img_id', 'ori_shape', 'img_shape', 'scale_factor'))
NORMALISE = dict(type='Normalize', mean=[124.0] * 3, std=[58.0] * 3)
COLOURS = dict(type='YOLOXHSVRandomAug')
MOSAIC = dict(type='Mosaic', img_scale=(64, 64))
EPOCHS = {
    'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=12),
    'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', interval=1),
    'param_scheduler': None,
}
SHUFFLED = {f'{TRAIN}.sampler': dict(type='DefaultSampler', shuffle=True)}


def of(part: str, *steps: dict) -> dict:
    return {f'{part}.dataset.pipeline': list(steps)}


def mixed(*inner: dict, **hook) -> dict:
    """Mosaic in its wrapper, or a hook that changes its pipeline."""
    dataset = dict(
        type='CocoDataset',
        ann_file='none.json',
        metainfo=dict(classes=('square', 'bar')),
        pipeline=[LOAD, ANNOTATIONS, *inner],
    )
    whole = dict(_delete_=True, type='MultiImageMixDataset', dataset=dataset, pipeline=[MOSAIC, RESIZE, PACK])
    return {f'{TRAIN}.dataset': whole, **hook}


def switched(*steps: dict) -> dict:
    hook = dict(type='PipelineSwitchHook', switch_epoch=10, switch_pipeline=list(steps))
    return EPOCHS | SHUFFLED | mixed(custom_hooks=[hook])


WRONG = [
    ('endless', {f'{VAL}.sampler': dict(type='InfiniteSampler')}, 'error', 'would never end'),
    ('endless', EPOCHS, 'error', 'the first epoch of the training would never end'),
    ('loader', {f'{TRAIN}.persistent_workers': True}, 'error', 'num_workers to 1 or more'),
    ('loader', {f'{TRAIN}.prefetch_factor': 2}, 'error', 'there are no workers'),
    ('loader', {f'{TRAIN}.drop_last': True}, 'error', 'train_dataloader.batch_sampler.drop_last'),
    ('left-out', {f'{VAL}.drop_last': True, f'{VAL}.batch_size': 5}, 'error', '2 of 12 images are not evaluated'),
    ('left-out', EPOCHS | SHUFFLED | {f'{TRAIN}.batch_size': 64, f'{TRAIN}.batch_sampler.drop_last': True}, 'error',
     '12 images and a batch_size of 64'),
    ('image-channels', of(VAL, dict(LOAD, color_type='unchanged'), RESIZE, PACK), 'warning', 'as if they had 8'),
    ('image-channels', of(VAL, dict(LOAD, color_type='grayscale'), RESIZE, PACK), 'error',
     'mean and std are of three'),
    ('image-channels', of(VAL, dict(LOAD, color_type='colour'), RESIZE, PACK), 'error', 'one of color, grayscale'),
    ('image-channels', of(TRAIN, dict(LOAD, imdecode_backend='opencv'), ANNOTATIONS, RESIZE, PACK), 'error',
     'one of cv2, turbojpeg'),
    ('image-channels', of(TRAIN, dict(LOAD, imdecode_backend='turbojpeg'), ANNOTATIONS, RESIZE, PACK), 'error',
     "mmcv.use_backend('turbojpeg')"),
    ('pipeline-parts', of(TRAIN, LOAD, ANNOTATIONS, RESIZE), 'error', 'has no PackDetInputs'),
    ('pipeline-parts', of(TRAIN, ANNOTATIONS, FLIP, PACK), 'error', 'has no LoadImageFromFile'),
    ('nothing-loaded', of(TRAIN, LOAD, RESIZE, PACK), 'error', 'loads no boxes'),
    ('pipeline-parts', of(TRAIN, LOAD, ANNOTATIONS, MOSAIC, PACK), 'error', 'wrap the data set'),
    ('pipeline-parts', switched(LOAD, ANNOTATIONS, RESIZE, PACK), 'error', 'uses 3 of the 4 transforms'),
    ('meta-keys', of(VAL, LOAD, RESIZE, dict(PACK, meta_keys=('ori_shape', 'img_shape', 'scale_factor'))), 'error',
     "lacks 'img_id', which CocoMetric"),
    ('meta-keys', of(VAL, LOAD, RESIZE, dict(PACK, meta_keys=('img_id', 'img_shape', 'scale_factor'))), 'error',
     "lacks 'ori_shape'"),
    ('meta-keys', of(VAL, LOAD, PACK), 'error', 'no transform that sets the scale_factor'),
    ('drawn-at-test', of(VAL, LOAD, RESIZE, COLOURS, PACK), 'warning', 'YOLOXHSVRandomAug is in val_dataloader'),
    ('moved-images', of(VAL, LOAD, RESIZE, FLIP, PACK), 'error', 'changes the images that are evaluated (RandomFlip)'),
    ('normalised-twice', of(TRAIN, LOAD, ANNOTATIONS, RESIZE, NORMALISE, PACK), 'error', 'leave Normalize out'),
    ('normalised-twice', of(TRAIN, LOAD, ANNOTATIONS, RESIZE, dict(type='RandomApply', transforms=[NORMALISE]), PACK),
     'error', 'leave Normalize out'),
]  # fmt: skip
RIGHT = [
    EPOCHS | SHUFFLED,
    {f'{TRAIN}.persistent_workers': True, f'{TRAIN}.num_workers': 2},
    {f'{TRAIN}.batch_sampler.drop_last': True},
    {f'{VAL}.drop_last': True, f'{VAL}.batch_size': 4},
    {f'{VAL}.dataset.filter_cfg': dict(filter_empty_gt=True)},
    {f'{TRAIN}.dataset.filter_cfg': dict(filter_empty_gt=True)},
    of(VAL, LOAD, RESIZE, PACK),
    of(VAL, LOAD, RESIZE, dict(FLIP, prob=0), dict(type='PackDetInputs')),
    of(VAL, dict(type='mine.Load'), dict(type='mine.Pack')),
    of(VAL, LOAD, dict(PACK, meta_keys=('img_id', 'ori_shape', 'img_shape', 'border'))),
    of(TRAIN, LOAD, ANNOTATIONS, NORMALISE, PACK)
    | {'model.data_preprocessor.mean': None, 'model.data_preprocessor.std': None},
    of(VAL, dict(LOAD, color_type='color_ignore_orientation', imdecode_backend='pillow'), RESIZE, PACK),
    of(VAL, dict(LOAD, color_type='grayscale'), RESIZE, PACK)
    | {'model.data_preprocessor.mean': [120.0], 'model.data_preprocessor.std': [58.0]},
    mixed(),
    of(TRAIN, LOAD, ANNOTATIONS, dict(MOSAIC, type='CachedMosaic'), PACK),
    switched(MOSAIC, RESIZE, PACK),
]


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_does_not_come_out(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_a_validation_without_an_end_ends_before_it_begins(data, tmp_path):
    """A test too, which would go on for ever as well."""
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    cfg.merge_from_dict({'test_dataloader.sampler': dict(type='InfiniteSampler')})
    fails(cfg, 'test_dataloader.sampler is InfiniteSampler, which has no end', 'test')


@pytest.mark.parametrize(
    'options, sentence',
    [
        ({f'{VAL}.drop_last': True, f'{VAL}.batch_size': 5}, '2 of 12 images are not evaluated'),
        ({f'{TRAIN}.prefetch_factor': 2}, 'there are no workers'),
        (of(TRAIN, LOAD, ANNOTATIONS, RESIZE), 'has no PackDetInputs'),
        (of(VAL, LOAD, PACK), 'scale_factor'),
    ],
    ids=str,
)
def test_a_run_ends_with_it(options, sentence, data, tmp_path):
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    cfg.merge_from_dict(options)
    fails(cfg, sentence)
