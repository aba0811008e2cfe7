"""What is to happen beyond the end of a training, or counts otherwise than its loop."""

import pytest
import settings
import torch
from checked import MMDET
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from rethink import checks

EPOCHS = {
    'train_cfg': dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=12),
    'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', interval=1),
    'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
}
WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500)


def drops(**more) -> dict:
    return {'param_scheduler': [dict(type='MultiStepLR', milestones=[8, 11], end=12, **more)]}


def cosine(**more) -> dict:
    return {'param_scheduler': [dict(type='CosineAnnealingLR', **more)]}


LONG = {'train_cfg.max_iters': 9000, 'train_cfg.val_interval': 3000, 'default_hooks.checkpoint.interval': 3000}
ITERATIONS = {
    'train_cfg.max_iters': 900,
    'train_cfg.val_interval': 300,
    'param_scheduler': [WARM_UP, dict(type='MultiStepLR', by_epoch=False, begin=0, end=900, milestones=[600, 800])],
}
WRONG = [
    ('beyond-the-end', {'param_scheduler.1.milestones': [6, 80]}, 'warning', 'was to fall at 80.'),
    ('beyond-the-end', {'param_scheduler.0.end': 50}, 'warning', 'the warm-up ends at 50'),
    ('beyond-the-end', {'param_scheduler.1.begin': 20}, 'warning', 'MultiStepLR begins at 20'),
    ('beyond-the-end', {'train_cfg.val_interval': 500}, 'warning', 'it comes once, at the end'),
    ('beyond-the-end', {'train_cfg.val_begin': 500}, 'warning', 'nothing is validated'),
    ('beyond-the-end', {'train_cfg.val_interval': 9}, 'note', 'it comes once, at the end'),
    ('beyond-the-end', {'default_hooks.checkpoint.interval': 500}, 'warning', 'none to go on from before'),
    ('beyond-the-end', {'custom_hooks': [dict(type='EMAHook', begin_iter=50)]}, 'warning', 'EMAHook begins at 50'),
    ('by-epoch', {'param_scheduler.1.by_epoch': True}, 'error', 'param_scheduler.1.by_epoch=False'),
    ('by-epoch', {'param_scheduler': [dict(type='MultiStepLR', milestones=[6, 7])]}, 'error', 'the default'),
    ('by-epoch', {'default_hooks.checkpoint.by_epoch': True}, 'warning', 'every 2 epochs'),
    ('by-epoch', EPOCHS | drops(by_epoch=False), 'error', 'ends at 12, of 12 epochs'),
    ('by-epoch', EPOCHS | drops() | {'default_hooks.checkpoint.by_epoch': False}, 'warning', 'every 1 iterations'),
    ('beyond-the-end', EPOCHS | {'param_scheduler': [dict(type='MultiStepLR', milestones=[8, 16])]}, 'warning', '16'),
    # What was kept of a shorter schedule.
    ('beyond-the-end', EPOCHS | {'param_scheduler': [dict(type='MultiStepLR', milestones=[8, 11], end=10)]}, 'warning',
     'MultiStepLR ends at 10, and the learning rate was to fall at 11'),
    # 12 images, 2 a step.
    ('beyond-the-end', EPOCHS | {'param_scheduler': [WARM_UP]}, 'warning', '72 iterations (12 epochs)'),
    ('beyond-the-end', EPOCHS | cosine(T_max=6), 'warning', 'the learning rate rises again'),
    ('beyond-the-end', EPOCHS | cosine(T_max=4, end=4), 'warning', 'ends at 4 of 12 epochs, at 0'),
    ('beyond-the-end', {'default_hooks.logger.interval': 50}, 'warning', 'none is ever logged'),
    ('beyond-the-end', {'train_cfg.dynamic_intervals': [(50, 1)]}, 'warning', 'dynamic_intervals change at 50'),
    ('by-epoch', EPOCHS | {'param_scheduler': [dict(type='MultiStepLR', milestones=[8, 11], by_epoch=False)]}, 'error',
     'the schedule is over after 11 iterations'),
    ('by-epoch', LONG | {'param_scheduler': [dict(type='MultiStepLR', milestones=[8, 11], by_epoch=False)]}, 'error',
     'falls at 8, 11 of 9000 iterations'),
    ('by-epoch', {'custom_hooks': [dict(type='EMAHook', begin_epoch=1)]}, 'error', 'begin_iter in its place'),
    ('by-epoch', {'custom_hooks': [dict(type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=[])]}, 'error',
     'it never begins'),
]  # fmt: skip
RIGHT = [
    {},
    ITERATIONS,
    EPOCHS | drops(),
    EPOCHS | {'param_scheduler': [dict(WARM_UP, end=50), dict(type='MultiStepLR', milestones=[8, 11], end=12)]},
    EPOCHS | {'param_scheduler': [dict(WARM_UP, convert_to_iter_based=True, by_epoch=True, end=1)]},
    EPOCHS | {'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=9000, end=9000)]},
    EPOCHS | drops() | {'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=5000)},
    EPOCHS | drops() | {'default_hooks.checkpoint.interval': -1},
    ITERATIONS | {'default_hooks.checkpoint.interval': 900, 'train_cfg.val_interval': 900},
    {'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', interval=1)},
    {'param_scheduler': None},
    EPOCHS | cosine(),
    EPOCHS | cosine(T_max=12),
    EPOCHS | cosine(T_max=6, begin=6, end=12),
    EPOCHS | cosine(T_max=8, end=8, eta_min_ratio=0.05),
    EPOCHS | {'param_scheduler': [dict(type='CosineAnnealingLR', T_max=8, end=8, eta_min=0.001)]},
    {'custom_hooks': [dict(type='EMAHook', begin_iter=2)]},
    EPOCHS | drops() | {'custom_hooks': [dict(type='EMAHook', begin_epoch=2)]},
    LONG | {'param_scheduler': [dict(type='MultiStepLR', milestones=[90, 8000], by_epoch=False)]},
    {'default_hooks.logger.interval': 8, 'train_cfg.dynamic_intervals': [(6, 1)]},
    {'param_scheduler': [dict(type='ConstantLR', by_epoch=False, factor=1.0)]},
]  # fmt: skip


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_comes_too_late(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


def test_drops_after_the_end_of_their_schedule_never_come():
    """As MMEngine steps it, in a config of MMDetection: 24 epochs, drops at 16 and 23, and a base that ends at 12."""
    cfg = Config.fromfile(str(MMDET / 'faster_rcnn/faster-rcnn_r50-caffe_fpn_ms-2x_coco.py'))
    (found,) = checks.RULES['beyond-the-end'][0](checks.Facts(cfg))
    assert 'MultiStepLR ends at 12, and the learning rate was to fall at 16, 23' in found.what and '=24' in found.fix
    for end, last in ((12, 0.02), (24, 0.0002)):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
        schedule = PARAM_SCHEDULERS.build(
            cfg.param_scheduler[1] | dict(end=end), default_args=dict(optimizer=optimizer)
        )
        for _ in range(cfg.train_cfg.max_epochs):
            schedule.step()
        assert optimizer.param_groups[0]['lr'] == pytest.approx(last)
