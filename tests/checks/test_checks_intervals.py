"""What is to happen beyond the end of a training, or counts otherwise than its loop."""

import re

import pytest
import settings
import torch
from checked import MMDET, fails
from conftest import write_detector
from mmengine.config import Config
from mmengine.registry import HOOKS, PARAM_SCHEDULERS
from rethink import checks
from rethink.checks import stop_on_errors

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


def schedule(kind, **more) -> dict:
    return {'param_scheduler': [dict(type=kind, by_epoch=False) | more]}


# Data of which nobody knows how many iterations they are.
UNKNOWN = {'train_dataloader.dataset.ann_file': 'not_here.json'}
EVERY_5000 = (
    EPOCHS
    | drops()
    | {'default_hooks.checkpoint': dict(_delete_=True, type='CheckpointHook', by_epoch=False, interval=5000)}
)
# As of several optimisers.
SEVERAL = {'param_scheduler': dict(_delete_=True, generator=[dict(type='StepLR', by_epoch=False, step_size=50)])}
PLATEAU = dict(type='ReduceOnPlateauLR', monitor='coco/bbox_mAP', rule='greater')
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
    # Forms of schedules that go down by and by; the tiny training has 8 iterations, 12 epochs are 72.
    ('beyond-the-end', schedule('CosineAnnealingLR', T_max=800), 'warning', 'makes 8 of its 800 steps'),
    ('beyond-the-end', schedule('CosineAnnealingLR', T_max=800, end=800), 'warning', 'the small learning rate never'),
    ('beyond-the-end', schedule('CosineAnnealingLR', end=800), 'warning', 'end=8'),
    ('beyond-the-end', schedule('CosineAnnealingMomentum', T_max=80, eta_min=0.5), 'warning', 'the small momentum'),
    ('beyond-the-end', schedule('CosineAnnealingParamScheduler', param_name='weight_decay', T_max=80), 'warning',
     'the small weight_decay'),
    ('beyond-the-end', schedule('PolyLR', end=800), 'warning', 'makes 8 of its 800 steps'),
    ('beyond-the-end', schedule('PolyLR', begin=4, end=12, power=0.9), 'warning', 'end=8'),
    ('beyond-the-end', schedule('LinearLR', start_factor=1.0, end_factor=0.0, end=16), 'warning', '50% of the way'),
    ('beyond-the-end', schedule('LinearMomentum', start_factor=0.1, end=500), 'warning', 'the momentum is never re'),
    ('beyond-the-end', schedule('mmdet.QuadraticWarmupLR', end=500), 'warning', 'the warm-up ends at 500'),
    ('beyond-the-end', schedule('StepLR', step_size=500), 'warning', 'was to fall at 500'),
    ('beyond-the-end', schedule('StepLR', step_size=6, begin=4), 'warning', 'was to fall at 10'),
    ('beyond-the-end', schedule('StepLR', step_size=5, end=4), 'warning', 'StepLR ends at 4'),
    # Milestones count from the beginning.
    ('beyond-the-end', schedule('MultiStepLR', milestones=[5], begin=4), 'warning', 'was to fall at 9'),
    ('beyond-the-end', schedule('MultiStepMomentum', milestones=[50]), 'warning', 'the momentum was to fall at 50'),
    ('beyond-the-end', schedule('OneCycleLR', eta_max=0.1, total_steps=800), 'warning', 'makes 8 of its 800 steps'),
    ('beyond-the-end', schedule('OneCycleLR', eta_max=0.1, end=800), 'warning', '100% of the way down is left'),
    ('beyond-the-end', schedule('CosineRestartLR', periods=[4, 40], restart_weights=[1, 1], eta_min=0), 'warning',
     'makes 8 of its 44 steps'),
    ('beyond-the-end', schedule('CosineRestartLR', periods=[8, 8], restart_weights=[1, 1], eta_min=0), 'warning',
     'was to restart at 8'),
    ('schedule-ends', schedule('CosineRestartLR', periods=[4, 4], eta_min=0), 'error', '[1, 1]'),
    ('schedule-ends', schedule('OneCycleLR', eta_max=0.1, total_steps=6), 'error', 'total_steps=8'),
    ('beyond-the-end', EPOCHS | cosine(T_max=120), 'warning', 'makes 12 of its 120 steps'),
    ('beyond-the-end', EPOCHS | cosine(T_max=120, convert_to_iter_based=True), 'warning', 'makes 12 of its 120 steps'),
    ('beyond-the-end', EPOCHS | cosine(by_epoch=False, T_max=9000, end=9000), 'warning',
     '72 iterations (12 epochs), and CosineAnnealingLR makes 72 of its 9000 steps'),
    ('beyond-the-end', EPOCHS | drops(by_epoch=False) | schedule('MultiStepLR', milestones=[60000, 80000], end=90000),
     'warning', 'convert_to_iter_based=True'),
    ('beyond-the-end', SEVERAL,
     'warning', 'was to fall at 50'),
    # What waits for validations, of which there are 8 / 4.
    ('beyond-the-end', {'train_cfg.val_interval': 4, 'param_scheduler': [PLATEAU | dict(patience=1)]}, 'warning',
     'has 2 validations, and ReduceOnPlateauLR lowers the rate after more than 1'),
    ('beyond-the-end', {'custom_hooks': [dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', patience=50)]},
     'note', 'EarlyStoppingHook stops after 50'),
    # Hooks that count iterations in a loop by epochs.
    ('beyond-the-end', EVERY_5000, 'warning', '72 iterations (12 epochs), and a checkpoint is to be saved every 5000'),
    ('beyond-the-end', EPOCHS | drops() | {'custom_hooks': [dict(type='EMAHook', begin_iter=500)]}, 'warning',
     'EMAHook begins at 500'),
    ('beyond-the-end', EPOCHS | drops() | {'custom_hooks': [dict(type='EMAHook', interval=500)]}, 'warning',
     'interval of EMAHook is 500'),
    ('beyond-the-end', EPOCHS | drops() | {'custom_hooks': [dict(type='YOLOXModeSwitchHook', num_last_epochs=15)]},
     'warning', 'there is no epoch before them'),
    ('beyond-the-end', {'custom_hooks': [dict(type='CheckInvalidLossHook', interval=50)]}, 'warning', 'no loss is'),
]  # fmt: skip
RIGHT = [
    {},
    ITERATIONS,
    EPOCHS | drops(),
    EPOCHS | {'param_scheduler': [dict(WARM_UP, end=50), dict(type='MultiStepLR', milestones=[8, 11], end=12)]},
    EPOCHS | {'param_scheduler': [dict(WARM_UP, convert_to_iter_based=True, by_epoch=True, end=1)]},
    UNKNOWN | EPOCHS | {'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=9000, end=9000)]},
    UNKNOWN | EVERY_5000,
    # Of a data set that is drawn from by what there is of each class, nobody knows the length.
    EVERY_5000 | {'train_dataloader.dataset': dict(_delete_=True, type='ClassBalancedDataset', oversample_thr=0.1,
                                                   dataset=dict(type='CocoDataset', ann_file='not_here.json'))},
    EVERY_5000 | {'default_hooks.checkpoint.interval': 72},
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
    schedule('CosineAnnealingLR', T_max=9),
    schedule('CosineAnnealingLR', begin=2),
    schedule('PolyLR'),
    schedule('PolyLR', end=9, power=2.0),
    schedule('ExponentialLR', gamma=0.9, end=800),
    schedule('StepLR', step_size=7),
    schedule('LinearLR', start_factor=1.0, end_factor=0.0),
    schedule('OneCycleLR', eta_max=0.1),
    schedule('OneCycleLR', eta_max=0.1, total_steps=8),
    schedule('CosineRestartLR', periods=[4, 4], restart_weights=[1, 0.5], eta_min=0),
    {'train_cfg.val_interval': 2, 'param_scheduler': [PLATEAU | dict(patience=2)]},
    {'train_cfg.val_interval': 2,
     'custom_hooks': [dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', patience=3)]},
    {'param_scheduler': dict(_delete_=True, generator=[dict(type='StepLR', by_epoch=False, step_size=5)])},
    # Of losses of an epoch that is shorter than the interval, MMEngine logs those at its end.
    EPOCHS | drops() | {'default_hooks.logger.interval': 1000},
    EPOCHS | schedule('MultiStepLR', milestones=[48, 64], end=72),
    EPOCHS | drops() | {'custom_hooks': [dict(type='YOLOXModeSwitchHook', num_last_epochs=3)]},
    EPOCHS | drops() | {'custom_hooks': [dict(type='EMAHook', begin_iter=50)]},
]  # fmt: skip


@pytest.mark.parametrize('rule, options, level, says', WRONG, ids=str)
def test_what_comes_too_late(rule, options, level, says):
    settings.check(rule, options, level, says)


@pytest.mark.parametrize('options', RIGHT, ids=str)
def test_what_is_right(options):
    settings.right(options)


@pytest.mark.parametrize('options, level', [(one[1], one[2]) for one in WRONG if one[0] == 'schedule-ends'], ids=str)
def test_what_would_end_a_training_ends_it_before(options, level, data, tmp_path):
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    stop_on_errors(cfg)
    cfg.merge_from_dict(options)
    fails(cfg, r'param_scheduler\.0')


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


# --- against MMEngine's own schedules --------------------------------------------------------------------------------


def stepped(cfg: dict, length: int) -> list[float]:
    """The learning rates of the steps of a training, the first of which is 1; as MMEngine builds and steps them."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = PARAM_SCHEDULERS.build(dict(dict(end=length), **cfg), default_args=dict(optimizer=optimizer))
    rates = []
    for _ in range(length):
        rates.append(optimizer.param_groups[0]['lr'])
        built.step()
    return rates


def of_kind(kind: str, **more) -> dict:
    return dict(type=kind, by_epoch=False, **more)


@pytest.mark.parametrize(
    'cfg, right',
    [
        (of_kind('CosineAnnealingLR', T_max=1600), dict(T_max=800)),
        (of_kind('CosineAnnealingLR', end=1300), dict(end=800)),
        (of_kind('PolyLR', end=1600), dict(end=800)),
        (of_kind('PolyLR', begin=400, end=1200, power=2.0), dict(end=800)),
        (of_kind('LinearLR', start_factor=1.0, end_factor=0.0, end=1000), dict(end=800)),
        (of_kind('OneCycleLR', eta_max=1.0, total_steps=1000), dict(total_steps=800)),
        (of_kind('OneCycleLR', eta_max=1.0, end=1500, three_phase=False, anneal_strategy='linear'), dict(end=800)),
        (of_kind('CosineRestartLR', periods=[400, 800], restart_weights=[1, 1], eta_min=0), dict(periods=[400, 400])),
    ],
    ids=str,
)
def test_what_is_left_of_the_way_down_is_what_mmengine_leaves(cfg, right):
    long = {'train_cfg.max_iters': 800, 'train_cfg.val_interval': 400, 'default_hooks.checkpoint.interval': 400}
    ((_, found),) = settings.findings(long | {'param_scheduler': [cfg]})
    left = float(re.search(r'at the end (\d+)% of the way', found.why)[1]) / 100
    assert stepped(cfg, 800)[-1] == pytest.approx(left, abs=0.01)
    settings.right(long | {'param_scheduler': [cfg | right]})
    assert stepped(cfg | right, 800)[-1] < 0.01


@pytest.mark.parametrize(
    'cfg, right',
    [
        (of_kind('StepLR', step_size=500), dict(step_size=7)),
        (of_kind('StepLR', step_size=6, begin=4), dict(step_size=3)),
        (of_kind('StepLR', step_size=5, end=4), dict(end=8)),
        (of_kind('MultiStepLR', milestones=[5], begin=4), dict(milestones=[3])),
        (of_kind('MultiStepLR', milestones=[8]), dict(milestones=[7])),
    ],
    ids=str,
)
def test_what_never_falls_does_not_in_mmengine(cfg, right):
    ((_, found),) = settings.findings({'param_scheduler': [cfg]})
    assert found.why == 'it does not fall there.'
    assert set(stepped(cfg, 8)) == {1.0}
    settings.right({'param_scheduler': [cfg | right]})
    assert stepped(cfg | right, 8)[-1] == pytest.approx(0.1)


def test_a_schedule_that_mmengine_ends_with():
    """One step more than total_steps are taken, and not two."""
    for total, ends in ((5, True), (6, True), (7, False), (8, False)):
        cfg = of_kind('OneCycleLR', eta_max=1.0, total_steps=total)
        assert bool(settings.findings({'param_scheduler': [cfg]})) == ends
        if ends:
            with pytest.raises(ValueError, match='The specified number of total steps'):
                stepped(cfg, 8)
        else:
            stepped(cfg, 8)
    cfg = of_kind('CosineRestartLR', periods=[4, 4], eta_min=0)
    with pytest.raises(AssertionError, match='the same length'):
        stepped(cfg, 8)


@pytest.mark.parametrize('number', [2, 3, 4, 5])
def test_patience_for_more_validations_than_there_are(number):
    """The same AP at each: what MMEngine lowers, and where it stops."""
    options = {'train_cfg.val_interval': 8 // number, 'train_cfg.max_iters': number * (8 // number)}
    for patience in range(5):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        plateau = PLATEAU | dict(patience=patience)
        built = PARAM_SCHEDULERS.build(dict(plateau), default_args=dict(optimizer=optimizer))
        stopping = dict(type='EarlyStoppingHook', monitor='coco/bbox_mAP', patience=patience + 1, min_delta=0.1)
        hook, stops = HOOKS.build(dict(stopping)), False
        for _ in range(number):
            built.step({'coco/bbox_mAP': 0.3})
            stops = hook._check_stop_condition(0.3)[0] or stops
        lowered = optimizer.param_groups[0]['lr'] < 1
        assert lowered == (not settings.findings(options | {'param_scheduler': [plateau]}))
        assert stops == (not settings.findings(options | {'param_scheduler': None, 'custom_hooks': [stopping]}))
