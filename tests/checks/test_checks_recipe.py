"""Settings with which a run learns nothing, or what is wrong."""

import checked
import pytest
import settings
from mmengine.config import Config
from rethink import checks, config_path

DATA, PIXELS = 'train_dataloader.dataset', 'model.data_preprocessor'
LOAD, ANNOTATIONS = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
FLIP, RESIZE = dict(type='RandomFlip', prob=0.5), dict(type='Resize', scale=(64, 64))
PACK = dict(type='PackDetInputs')
PRETRAINED = dict(type='Pretrained', checkpoint='torchvision://resnet18')
BEST = 'default_hooks.checkpoint.save_best'
WRONG = [
    ('no-rate', {'optim_wrapper.optimizer.lr': 0}, 'error', 'the learning rate is 0'),
    ('no-rate', {'optim_wrapper.optimizer.lr': 0.0}, 'error', 'no weight changes'),
    ('pixel-range', {f'{PIXELS}.std': [0, 0, 0]}, 'error', 'become infinite'),
    ('pixel-range', {f'{PIXELS}.std': [58.4, 0.0, 57.4]}, 'error', 'become infinite'),
    ('pixel-range', {f'{PIXELS}.mean': [0.485, 0.456, 0.406], f'{PIXELS}.std': [0.229, 0.224, 0.225]}, 'error',
     'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]'),
    ('pipeline-order', {f'{DATA}.pipeline': [LOAD, FLIP, ANNOTATIONS, PACK]}, 'error', 'RandomFlip comes before'),
    ('pipeline-order', {f'{DATA}.pipeline': [LOAD, RESIZE, ANNOTATIONS, PACK]}, 'error', 'Resize comes before'),
    ('unshuffled', {'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=False)}, 'warning', 'shuffle'),
    ('unshuffled', {'train_dataloader.sampler': dict(type='InfiniteSampler', shuffle=False)}, 'warning', 'InfiniteS'),
    ('unshuffled', {'train_dataloader.sampler': None}, 'warning', 'no sampler'),
    ('weights-twice', {'load_from': 'a.pth', 'model.backbone.init_cfg': PRETRAINED}, 'note', 'comes after'),
    ('best-of-nothing', {BEST: 'auto', 'val_dataloader': None, 'val_evaluator': None, 'val_cfg': None}, 'warning',
     'nothing is validated'),
    ('best-of-nothing', {'val_evaluator.format_only': True, 'val_evaluator.outfile_prefix': 'x'}, 'note',
     'measures nothing'),
    ('rising-rate', {'param_scheduler.1.gamma': 10}, 'error', 'gamma=0.1'),
    ('no-hook', {'default_hooks.param_scheduler': None}, 'error', 'the learning rate never changes'),
    ('no-hook', {'default_hooks.checkpoint': None}, 'warning', 'nothing is saved'),
    ('average', {'custom_hooks': [dict(type='EMAHook', momentum=0.9998)]}, 'error', 'momentum=0.0002'),
    ('score-threshold', {'model.test_cfg.score_thr': 0.5}, 'warning', 'thrown away before AP'),
]  # fmt: skip
RIGHT = [
    {'optim_wrapper.optimizer.lr': 1e-8},
    {'optim_wrapper.optimizer.lr': 0, 'param_scheduler': [dict(type='OneCycleLR', eta_max=0.1, total_steps=8,
                                                                by_epoch=False)]},
    {f'{PIXELS}.std': [1.0, 1.0, 1.0]},
    {f'{PIXELS}.mean': [123.675, 116.28, 103.53], f'{PIXELS}.std': [58.395, 57.12, 57.375]},
    {f'{PIXELS}.mean': None, f'{PIXELS}.std': None},
    {f'{DATA}.pipeline': [LOAD, ANNOTATIONS, FLIP, RESIZE, PACK]},
    {f'{DATA}.pipeline': [LOAD, dict(type='PhotoMetricDistortion'), ANNOTATIONS, PACK]},
    {f'{DATA}.pipeline': [LOAD, dict(FLIP, prob=0), ANNOTATIONS, PACK]},
    {'val_dataloader.dataset.pipeline': [LOAD, RESIZE, ANNOTATIONS, PACK]},
    {'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True)},
    {'load_from': 'a.pth'},
    {'model.backbone.init_cfg': PRETRAINED},
    {BEST: 'auto'},
    {'param_scheduler.1.gamma': 0.5},
    {'param_scheduler': None, 'default_hooks.param_scheduler': None},
    {'default_hooks.sampler_seed': None},  # its sampler has no epochs
    {'custom_hooks': [dict(type='EMAHook', momentum=0.0002)]},
    {'model.test_cfg.score_thr': 0.05},
]  # fmt: skip


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_is_wrong(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_pixels_that_a_transform_scales_may_be_meant():
    """One of another package may divide by 255."""
    values = {f'{PIXELS}.mean': [0.4] * 3, f'{PIXELS}.std': [0.2] * 3}
    pipeline = [LOAD, ANNOTATIONS, dict(type='Albu', transforms=[]), dict(type='mine.ToUnit'), PACK]
    settings.check('pixel-range', values | {f'{DATA}.pipeline': pipeline}, 'warning', 'for pixels of 0 to 1')


def test_our_schedule_behind_mmdetections_losses_is_told_and_ours_behind_ours_is_not(tmp_path):
    """What inherits our schedules alone, as folders of `study.py new` did, has had Detectron's optimiser since."""
    detector, schedule = config_path('_base_/models/mask_rcnn_own_fpn_gn.py'), '_base_/schedules/schedule_2x.py'
    own = tmp_path / 'own.py'
    own.write_text(f'_base_ = [{detector!r}, {config_path(schedule)!r}]\n')
    assert Config.fromfile(own).optim_wrapper.paramwise_cfg.bias_lr_mult == 2
    (finding,) = find_two(own)
    assert finding.level == 'warning' and 'optim_wrapper.paramwise_cfg=None' in finding.fix
    own.write_text(own.read_text() + 'optim_wrapper = dict(paramwise_cfg=None)\n')
    assert not find_two(own) and not find_two(checked.OURS) and not find_two(checked.MASK_RCNN)


def find_two(path) -> list[checks.Finding]:
    find, _ = checks.RULES['two-conventions']
    return list(find(checks.Facts(Config.fromfile(path))))
