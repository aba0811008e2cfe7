"""A training of another length than its file says: what its schedule lacks, and what it does not."""

import pytest
from conftest import ROOT
from mmengine.config import Config
from rethink.configs.overrides import parse_options
from rethink.engine.launch import load_config
from rethink.engine.schedules import check_length, missing_overrides

WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10)
COSINE = dict(type='CosineAnnealingLR', by_epoch=False, begin=10, end=100)
DROPS = dict(type='MultiStepLR', by_epoch=False, begin=0, end=100, milestones=[60, 80])


@pytest.mark.parametrize(
    ('schedule', 'now', 'missing'),
    [
        ([WARM_UP, COSINE], 50, ['param_scheduler.1.end=50']),
        ([WARM_UP, COSINE], 200, ['param_scheduler.1.end=200']),
        (COSINE, 50, ['param_scheduler.end=50']),
        ([dict(type='CosineAnnealingLR', by_epoch=False, T_max=100)], 50, ['param_scheduler.0.T_max=50']),
        ([dict(type='mmengine.PolyLR', by_epoch=False, end=100)], 50, ['param_scheduler.0.end=50']),
        ([dict(type='LinearLR', end_factor=0, by_epoch=False, end=100)], 50, ['param_scheduler.0.end=50']),
        (
            [dict(type='OneCycleLR', eta_max=1, by_epoch=False, total_steps=100)],
            50,
            ['param_scheduler.0.total_steps=50'],
        ),
        ([WARM_UP, DROPS], 50, ['param_scheduler.1.milestones=[30,40]']),
        ([WARM_UP, DROPS], 70, ['param_scheduler.1.milestones=[42,56]']),
        ([WARM_UP, DROPS], 80, ['param_scheduler.1.milestones=[48,64]']),
        # All drops are still there; what ends them later or earlier than the training does nothing.
        ([WARM_UP, DROPS], 90, []),
        ([WARM_UP, DROPS], 200, []),
        # It ended elsewhere before.
        ([dict(COSINE, end=80)], 50, []),
        ([dict(DROPS, milestones=[60, 100])], 90, []),
        ([dict(type='ExponentialLR', gamma=0.9, by_epoch=False, end=100)], 50, []),
        ([dict(type='CosineAnnealingLR', begin=0, end=100)], 50, []),  # in epochs
        ([], 50, []),
    ],
)
def test_what_is_missing(schedule, now, missing):
    cfg = Config(dict(train_cfg=dict(max_iters=now), param_scheduler=schedule))
    assert missing_overrides(cfg, before=100) == missing
    cfg.merge_from_dict(parse_options(missing))
    assert missing_overrides(cfg, before=100) == []


def test_the_command_line_is_told_what_to_add(capsys):
    path = str(ROOT / 'configs' / 'shapes' / 'pretrain_moco_r18.py')
    length = Config.fromfile(path).train_cfg.max_iters
    check_length(load_config(path))
    assert capsys.readouterr().out == ''
    check_length(load_config(path, {'train_cfg.max_iters': 7}))
    assert capsys.readouterr().out == (
        f'train_cfg.max_iters is 7, and the schedule is still that of {length} iterations; to end it with the '
        'training, add param_scheduler.0.end=7 to --cfg-options.\n'
    )
    check_length(load_config(path, {'train_cfg.max_iters': 7, 'param_scheduler.0.end': 7}))
    assert capsys.readouterr().out == ''
