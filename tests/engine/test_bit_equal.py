"""A training that was stopped and resumed ends with the weights of the one that was not, to the bit."""

import itertools

import pytest
import torch
from conftest import write_detector
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rethink.analysis.logs import read_run
from rethink.engine import launch
from rethink.trust.checkpoints import latest_checkpoint

NAMES = itertools.count()
# Of each library that draws: NumPy, Python's random, PyTorch (in the step).
AUGMENTED = """
augment = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomChoiceResize', scales=[(48, 48), (64, 64), (80, 80)], keep_ratio=True),
    dict(type='MinIoURandomCrop'), dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
train_dataloader['dataset']['pipeline'] = augment
model['bbox_head']['init_cfg'] = dict(type='Normal', layer='Conv2d', std=0.01)
model['backbone'] = dict(type='DroppingResNet', **{key: value for key, value in model['backbone'].items()
                                                   if key != 'type'})
custom_hooks = [dict(type='StopsAt', iteration=-1)]
default_hooks['logger']['log_metric_by_epoch'] = False
train_cfg['max_iters'] = 9
train_cfg['val_interval'] = 3
"""
EMA = "custom_hooks.append(dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.1, priority=49))\n"
ACCUMULATED = "optim_wrapper['accumulative_counts'] = 4\n"
AMP = "optim_wrapper['type'] = 'CPUAmpOptimWrapper'\n"
MIXED = """
train_dataloader['dataset'] = dict(
    type='MultiImageMixDataset', dataset=dict(train_dataloader['dataset'], pipeline=load),
    pipeline=[dict(type='Mosaic', img_scale=(64, 64)), dict(type='MixUp', img_scale=(64, 64)), *augment[2:]])
train_dataloader['batch_sampler'] = None
"""
EPOCHS = """
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=3, val_interval=1)
train_dataloader['sampler'] = dict(type='DefaultSampler', shuffle=True)
train_dataloader['batch_size'] = 4
train_dataloader['batch_sampler'] = None
default_hooks['checkpoint'] = dict(type='AtomicCheckpointHook', by_epoch=True, interval=1)
log_processor['by_epoch'] = True
param_scheduler = []
"""
ARMS = dict(
    plain='', ema=EMA, accumulated=ACCUMULATED, amp=AMP, mixed=MIXED, epochs=EPOCHS, all=EMA + ACCUMULATED + MIXED
)


class Stopped(BaseException):
    """In place of SIGKILL: nothing in between catches it."""


@HOOKS.register_module()
class StopsAt(Hook):
    """Ends the training amid a step, counted from 0."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.iteration:
            raise Stopped


def _register() -> None:
    from mmdet.models import ResNet
    from mmdet.registry import MODELS

    if 'DroppingResNet' in MODELS.module_dict:
        return

    @MODELS.register_module()
    class DroppingResNet(ResNet):
        """A ResNet with dropout, which draws on the device of the model in each step."""

        def forward(self, x):
            return tuple(torch.nn.functional.dropout(one, 0.1, self.training) for one in super().forward(x))


def train(folder, data, more: str, workers: int, stop: int = -1) -> dict:
    """Train, resuming where there is something to resume from; the last checkpoint, or nothing if stopped before."""
    _register()
    folder.mkdir(exist_ok=True)
    cfg = Config.fromfile(write_detector(folder / 'tiny.py', data, AUGMENTED + more, workers=workers))
    cfg.work_dir, cfg.launcher, cfg.experiment_name = str(folder / 'work'), 'none', f'bits{next(NAMES)}'
    cfg.visualizer = ConfigDict(cfg.visualizer, name=cfg.experiment_name)
    cfg.custom_hooks[0].iteration = stop
    launch.use_resume(cfg, 'auto')
    launch.start_processes(cfg)
    runner = launch.build_runner(cfg)
    try:
        runner.train()
    except Stopped:
        return {}
    finally:
        runner.train_loop.dataloader_iterator = None
    return torch.load(latest_checkpoint(folder / 'work'))


def assert_the_same(one, other, where: str = '') -> None:
    """Everything a checkpoint holds, to the bit, but times, names of files and the length of what was measured."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in ('experiment_name', 'cfg', 'last_ckpt') and not str(key).endswith('time'):
                assert_the_same(one[key], other[key], f'{where}.{key}')
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            assert_the_same(mine, theirs, f'{where}[{index}]')
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and torch.equal(one, other), where
    elif hasattr(one, 'data') and hasattr(one, 'current'):
        assert [list(part) for part in one.data] == [list(part) for part in other.data], where
    else:
        assert one == other, where


@pytest.mark.parametrize(
    'arm', [pytest.param(arm, marks=() if arm in ('all', 'epochs') else pytest.mark.long) for arm in ARMS]
)
def test_stopped_twice_and_with_other_workers(data, tmp_path, arm):
    """Weights, optimiser, moving averages, counters and logged values; stopped at iterations 5 and 7 of 9."""
    whole = train(tmp_path / 'whole', data, ARMS[arm], workers=0)
    assert whole['meta']['iter'] == 9
    assert not train(tmp_path / 'stopped', data, ARMS[arm], workers=2, stop=5)
    assert not train(tmp_path / 'stopped', data, ARMS[arm], workers=0, stop=7)
    assert_the_same(whole, train(tmp_path / 'stopped', data, ARMS[arm], workers=1))
    first, second = read_run(tmp_path / 'whole/work'), read_run(tmp_path / 'stopped/work')
    for one, other in ((first.train, second.train), (first.val, second.val)):
        assert list(one) == list(other)
        times = ('time', 'data_time', 'memory')
        assert [{k: v for k, v in entry.items() if k not in times} for entry in one.values()] == [
            {k: v for k, v in entry.items() if k not in times} for entry in other.values()
        ]
    if arm != 'epochs':
        assert list(first.train) == list(range(1, 10)) and list(first.val) == [3, 6, 9]


def test_what_is_not_by_place_is_said(data, tmp_path, capsys):
    cached = MIXED.replace('Mosaic', 'CachedMosaic').replace('MixUp', 'CachedMixUp')
    resized = "model['data_preprocessor']['batch_augments'] = [\n"
    resized += "    dict(type='BatchSyncRandomResize', random_size_range=(64, 96), size_divisor=32)]\n"
    train(tmp_path / 'run', data, cached + resized, workers=0, stop=0)
    said = capsys.readouterr().out
    for name in ('CachedMosaic keeps images', 'CachedMixUp keeps images', 'BatchSyncRandomResize keeps its size'):
        assert f'{name}' in said, name


def test_another_seed_is_another_training(data, tmp_path):
    one = train(tmp_path / 'one', data, '', workers=0)
    other = train(tmp_path / 'other', data, 'randomness = dict(seed=4)\n', workers=0)
    assert not torch.equal(
        one['state_dict']['bbox_head.conv_cls.weight'], other['state_dict']['bbox_head.conv_cls.weight']
    )


def test_checkpoints_are_written_between_accumulations(data, tmp_path):
    """Due every 2 iterations, at the end, and after the best evaluation, at 3; with a step every 4."""
    kept = "default_hooks['checkpoint'].update(max_keep_ckpts=-1, save_best='coco/bbox_mAP')\n"
    train(tmp_path / 'run', data, ACCUMULATED + kept, workers=0)
    assert list((tmp_path / 'run/work').glob('best_*.pth'))
    assert sorted(path.name for path in (tmp_path / 'run/work').glob('iter_*.pth')) == [
        'iter_4.pth',
        'iter_8.pth',
        'iter_9.pth',
    ]


def test_a_checkpoint_amid_an_accumulation_says_so(data, tmp_path, capsys):
    stock = ACCUMULATED + "default_hooks['checkpoint']['type'] = 'CheckpointHook'\n"
    assert not train(tmp_path / 'run', data, stock, workers=0, stop=3)
    train(tmp_path / 'run', data, stock, workers=0)
    assert 'was written at iteration 2, amid an accumulation of gradients' in capsys.readouterr().out
