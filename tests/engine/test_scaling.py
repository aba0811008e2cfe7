"""--auto-scale keeps the images seen: checked against learning-rate curves, not against its own arithmetic."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from rethink.engine import scaling
from rethink.errors import ConfigError

BASE = """
train_dataloader = dict(batch_size=2)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1200, val_interval=300, val_begin=1,
                 dynamic_intervals=[(1000, 100)])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=1200, milestones=[800, 1000])]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=400, max_keep_ckpts=3))
custom_hooks = [dict(type='EMAHook', begin_iter=200)]
auto_scale_lr = dict(base_batch_size=16)
"""


def config(tmp_path, text=BASE, **changes) -> Config:
    file = tmp_path / 'config.py'
    file.write_text(text)
    cfg = Config.fromfile(str(file))
    cfg.merge_from_dict(changes)
    return cfg


def curve(cfg: Config, images_in_iteration: int, steps_of: int) -> dict[int, float]:
    """Learning rate after every ``steps_of`` images, from MMEngine's own schedulers."""
    wrapper = build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper)
    schedulers = [PARAM_SCHEDULERS.build(s, default_args=dict(optimizer=wrapper)) for s in cfg.param_scheduler]
    rates = {}
    for iteration in range(cfg.train_cfg.max_iters):
        if iteration * images_in_iteration % steps_of == 0:
            rates[iteration * images_in_iteration] = wrapper.get_lr()['lr'][0]
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    rates['end'] = cfg.train_cfg.max_iters * images_in_iteration
    return rates


@pytest.mark.parametrize('processes', [2, 4, 16])
def test_same_rate_per_image_after_the_same_images(tmp_path, processes):
    paper = config(tmp_path)
    scaled = config(tmp_path)
    scaling.scale(scaled, processes)
    images, base = 2 * processes, 16
    want, have = curve(paper, base, 160), curve(scaled, images, 160)
    assert want.pop('end') == have.pop('end') == 1200 * 16
    assert want.keys() == have.keys()
    for seen, rate in want.items():
        # Warm-up is a straight line between its ends, which are one iteration apart from where it was.
        slack = 0.03 if seen < 100 * 16 else 1e-6
        assert have[seen] == pytest.approx(rate * images / base, rel=slack, abs=0.02 * slack)


def test_every_change_is_told_and_nothing_else_changes(tmp_path):
    before, cfg = config(tmp_path), config(tmp_path)
    changes = scaling.scale(cfg, 1)
    assert {change.name: (change.old, change.new) for change in changes} == {
        'optim_wrapper.optimizer.lr': (0.02, 0.0025),
        'train_cfg.max_iters': (1200, 9600),
        'train_cfg.val_interval': (300, 2400),
        'train_cfg.dynamic_intervals': ([(1000, 100)], [(8000, 800)]),
        'param_scheduler[0].end': (100, 800),
        'param_scheduler[1].end': (1200, 9600),
        'param_scheduler[1].milestones': ([800, 1000], [6400, 8000]),
        'default_hooks.checkpoint.interval': (400, 3200),
        'custom_hooks[0].begin_iter': (200, 1600),
    }
    # Put back what was told: the rest is as it was.
    for change in changes:
        exec(f'cfg.{change.name} = change.old', dict(cfg=cfg, change=change))
    assert cfg.pop('auto_scaled') and not cfg.auto_scale_lr.pop('enable')
    assert cfg.to_dict() == before.to_dict()


def test_the_batch_size_of_the_config_changes_nothing(tmp_path, capsys):
    cfg = config(tmp_path)
    scaling.use_auto_scale(cfg, 8)
    assert 'nothing was changed' in capsys.readouterr().out
    assert cfg.train_cfg.max_iters == 1200 and cfg.optim_wrapper.optimizer.lr == 0.02


def test_the_table(tmp_path, capsys):
    scaling.use_auto_scale(config(tmp_path), 4)
    out = capsys.readouterr().out
    assert 'total batch size is 8 (4 × 2) and the config is for 16' in out
    lines = [line.split() for line in out.splitlines()]
    assert ['train_cfg.max_iters', '1200', '→', '2400'] in lines
    assert ['optim_wrapper.optimizer.lr', '0.02', '→', '0.01'] in lines


def test_accumulation_from_the_command_line_keeps_the_rate_and_lengthens_the_run(tmp_path):
    cfg = config(tmp_path, **{'optim_wrapper.accumulative_counts': 4})
    scaling.scale(cfg, 2)  # 2 processes × 2 images × 4: the 16 images of the config in a step, 4 in an iteration
    assert cfg.optim_wrapper.optimizer.lr == 0.02
    assert cfg.train_cfg.max_iters * 2 * 2 == 1200 * 16


def test_accumulation_in_the_file_belongs_to_its_numbers(tmp_path):
    text = BASE.replace("type='OptimWrapper'", "type='OptimWrapper', accumulative_counts=2")
    assert scaling.scale(config(tmp_path, text), 4) == []
    cfg = config(tmp_path, text)
    scaling.scale(cfg, 1)
    assert cfg.train_cfg.max_iters == 4800 and cfg.optim_wrapper.optimizer.lr == 0.005


def test_epochs_stay(tmp_path):
    cfg = config(tmp_path)
    cfg.train_cfg = ConfigDict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
    cfg.param_scheduler[1] = ConfigDict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11])
    cfg.default_hooks.checkpoint = ConfigDict(type='CheckpointHook', interval=4)
    changes = scaling.scale(cfg, 4)
    assert [change.name for change in changes] == [
        'optim_wrapper.optimizer.lr',
        'param_scheduler[0].end',
        'custom_hooks[0].begin_iter',
    ]


def test_floors_of_the_rate_and_decay_per_iteration(tmp_path):
    cfg = config(tmp_path)
    cfg.param_scheduler = [
        ConfigDict(type='CosineAnnealingLR', by_epoch=False, T_max=1200, eta_min=1e-4),
        ConfigDict(type='ExponentialLR', by_epoch=False, gamma=0.99),
        ConfigDict(type='CosineAnnealingMomentum', by_epoch=False, T_max=1200, eta_min=0.5),
    ]
    scaling.scale(cfg, 4)
    cosine, exponential, momentum = cfg.param_scheduler
    assert (cosine.T_max, cosine.eta_min) == (2400, 5e-5)
    assert exponential.gamma**2 == pytest.approx(0.99)
    assert (momentum.T_max, momentum.eta_min) == (2400, 0.5)


@pytest.mark.parametrize(
    ('break_it', 'sentence'),
    [
        (lambda cfg: cfg.pop('auto_scale_lr'), 'auto_scale_lr = dict'),
        (lambda cfg: cfg.auto_scale_lr.pop('base_batch_size'), 'auto_scale_lr = dict'),
        (lambda cfg: cfg.train_dataloader.pop('batch_size'), 'train_dataloader.batch_size'),
        (lambda cfg: cfg.optim_wrapper.optimizer.pop('lr'), 'has no lr'),
    ],
)
def test_refuses(tmp_path, break_it, sentence):
    cfg = config(tmp_path)
    break_it(cfg)
    with pytest.raises(ConfigError, match=sentence):
        scaling.scale(cfg, 1)


def test_a_scaled_config_is_not_scaled_twice(tmp_path):
    cfg = config(tmp_path)
    scaling.scale(cfg, 4)
    cfg.dump(str(tmp_path / 'dumped.py'))
    again = Config.fromfile(str(tmp_path / 'dumped.py'))
    assert scaling.scale(again, 4) == []
    assert again.train_cfg.max_iters == 2400
    with pytest.raises(ConfigError, match='already scaled, to 8 images'):
        scaling.scale(again, 2)


def test_resume_needs_the_batch_size_of_the_checkpoint(tmp_path):
    before = config(tmp_path)
    scaling.scale(before, 4)
    torch.save(dict(meta=dict(cfg=before.pretty_text)), tmp_path / 'iter_1.pth')
    for processes, fits in ((4, True), (2, False)):
        cfg = config(tmp_path, resume=True, load_from=str(tmp_path / 'iter_1.pth'))
        scaling.scale(cfg, processes)
        if fits:
            scaling.check_resume(cfg)
        else:
            with pytest.raises(ConfigError, match='8 images in a step, and this run has 4'):
                scaling.check_resume(cfg)
