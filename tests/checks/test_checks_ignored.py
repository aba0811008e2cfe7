"""Keys that nobody asks for, each mistake beside what is right."""

from types import SimpleNamespace

import pytest
import settings
import torch
from checked import MMDET
from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook
from mmengine.registry import PARAM_SCHEDULERS
from rethink import checks

PARAMWISE = 'optim_wrapper.paramwise_cfg'
DATA = 'train_dataloader.dataset'
WRONG = [
    ('ignored-key', {'model.test_cfg.score_thresh': 0.5}, 'error', 'rename it to score_thr'),
    ('ignored-key', {'model.test_cfg.max_per_image': 5}, 'error', 'rename it to max_per_img'),
    ('ignored-key', {'model.test_cfg.qwertz': 5}, 'warning', 'FCOS does not ask for it'),
    ('ignored-key', {f'{DATA}.filter_cfg': dict(filter_empty=True)}, 'error', 'rename it to filter_empty_gt'),
    ('ignored-key', {f'{DATA}.filter_cfg': dict(minimum_size=9)}, 'error', 'rename it to min_size'),
    ('ignored-key', {PARAMWISE: dict(norm_decay=0.0)}, 'error', 'rename it to norm_decay_mult'),
    ('ignored-key', {PARAMWISE: dict(custom_keys=dict(backbone=dict(lr_mul=0.1)))}, 'error', 'rename it to lr_mult'),
    ('ignored-key', {'optim_wrapper.clip_grad': dict(max_nrom=1.0)}, 'error', 'rename it to max_norm'),
    ('ignored-key', {'env_cfg.cudnn_benchmak': True}, 'error', 'rename it to cudnn_benchmark'),
    ('ignored-key', {'auto_scale_lr.base_batchsize': 16}, 'error', 'rename it to base_batch_size'),
    ('ignored-key', {'env_cfg.find_unused_parameters': True}, 'warning', 'the Runner does not ask for it'),
    ('ignored-key', {'test_cfg.rcnn': dict(score_thr=0.3)}, 'error', 'model.test_cfg.rcnn'),
    ('custom-keys', {PARAMWISE: dict(custom_keys=dict(bakbone=dict(lr_mult=0.1)))}, 'error', "to 'backbone'"),
    ('custom-keys', {PARAMWISE: {'custom_keys': {'qwertz': dict(lr_mult=0.1)}}}, 'warning', 'no parameter of the'),
    ('hook-name', {'default_hooks.checkpiont': dict(type='CheckpointHook')}, 'error', 'a hook beside checkpoint'),
    ('hook-name', {'default_hooks.loger': dict(type='LoggerHook')}, 'error', 'rename it to logger'),
    ('hook-twice', {'default_hooks.ckpt': dict(type='CheckpointHook')}, 'warning',
     'default_hooks.ckpt is a CheckpointHook beside default_hooks.checkpoint, and both run'),
    ('hook-twice', {'custom_hooks': [dict(type='CheckpointHook')]}, 'warning', 'custom_hooks.0 is a CheckpointHook'),
    ('hook-twice', {'custom_hooks': [dict(type='AtomicCheckpointHook')]}, 'warning', 'both save'),
    ('hook-twice', {'default_hooks.text': dict(type='LoggerHook')}, 'warning', 'all is logged twice'),
    ('hook-twice', {'default_hooks.lr': dict(type='ParamSchedulerHook')}, 'error', 'over at half of the training'),
    ('hook-twice', {'default_hooks': dict(_delete_=True, logger=dict(type='LoggerHook', interval=1),
                                          lr=dict(type='ParamSchedulerHook'))}, 'error',
     'beside the default_hooks.param_scheduler that MMEngine has by itself'),
    ('hook-twice', {'custom_hooks': [dict(type='mmengine.IterTimerHook')]}, 'warning', 'done twice'),
    ('hook-twice', {'custom_hooks': [dict(type='DistSamplerSeedHook')]}, 'warning', 'default_hooks.sampler_seed=None'),
    ('hook-twice', {'custom_hooks': [dict(type='RuntimeInfoHook')]}, 'warning', 'done twice'),
    ('hook-twice', {'default_hooks.timer': None, 'default_hooks.a': dict(type='IterTimerHook'),
                    'default_hooks.b': dict(type='IterTimerHook')}, 'warning', 'beside default_hooks.a, and both run'),
]  # fmt: skip
RIGHT = [
    {'model.test_cfg.score_thr': 0.05, 'model.test_cfg.min_bbox_size': 0},
    {f'{DATA}.filter_cfg': dict(filter_empty_gt=True, min_size=32)},
    {PARAMWISE: dict(norm_decay_mult=0.0, bias_lr_mult=2.0, bypass_duplicate=True)},
    {PARAMWISE: dict(custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=0.0)))},
    {PARAMWISE: {'custom_keys': {'backbone.layer1': dict(lr_mult=0.1), 'bn': dict(decay_mult=0.0)}}},
    {'optim_wrapper.clip_grad': dict(max_norm=35, norm_type=2)},
    {'optim_wrapper.clip_grad': dict(type='value', clip_value=0.5)},
    {'default_hooks.ema': dict(type='EMAHook')},
    {'default_hooks.timer': None},
    {'default_hooks.timer': None, 'custom_hooks': [dict(type='IterTimerHook')]},
    {'default_hooks.timer': dict(type='IterTimerHook')},
    {'default_hooks.checkpoint.type': 'AtomicCheckpointHook'},
    {'custom_hooks': [dict(type='EMAHook'), dict(type='CheckInvalidLossHook', interval=2)]},
    {'env_cfg.cudnn_benchmark': True, 'env_cfg.resource_limit': 4096},
]  # fmt: skip


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_nobody_asks_for(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_names_of_classes_in_capitals():
    """As MMDetection 2 had them, which leaves the classes those of COCO."""
    settings.check(
        'ignored-key',
        {'train_dataloader.dataset.metainfo': dict(_delete_=True, CLASSES=('a',))},
        'error',
        'to classes',
    )


def test_a_key_that_a_function_of_the_head_asks_for():
    """``mask_size`` and the arguments of PISA's losses are read outside of the classes."""
    for name in ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py'):
        cfg = Config.fromfile(str(MMDET / name))
        assert not list(checks.RULES['ignored-key'][0](checks.Facts(cfg)))
        cfg.model.test_cfg.rcnn.score_thresh = 0.3
        cfg.model.train_cfg.rcnn.asigner = dict(pos_iou_thr=0.6)
        found = list(checks.RULES['ignored-key'][0](checks.Facts(cfg)))
        assert [one.fix for one in found if one.level == 'error'] == [
            'rename it to assigner',
            'rename it to score_thr',
        ]


def test_two_hooks_that_step_schedules():
    """Over at half, as MMEngine steps them: a drop after 4 steps of 8 comes after 2."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    for number, drops_after in ((1, 4), (2, 2)):
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        schedule = dict(type='MultiStepLR', milestones=[4], by_epoch=False)
        built = PARAM_SCHEDULERS.build(schedule, default_args=dict(optimizer=optimizer))
        runner, rates = SimpleNamespace(param_schedulers=[built]), []
        for step in range(8):
            rates.append(optimizer.param_groups[0]['lr'])
            for hook in [ParamSchedulerHook()] * number:
                hook.after_train_iter(runner, step)
        assert rates == pytest.approx([1.0] * drops_after + [0.1] * (8 - drops_after))
