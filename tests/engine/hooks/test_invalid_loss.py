"""A training whose loss or weights become NaN ends there, and its last checkpoint is the last good one."""

import math
import re
import time

import pytest
import torch
from conftest import run_tool, write_detector
from mmdet.engine.hooks import CheckInvalidLossHook
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import DATASETS, MODELS, OPTIM_WRAPPERS
from rethink.analysis.logs import read_run
from rethink.engine.hooks import StopAtInvalidLossHook
from rethink.engine.runner import SteadyRunner
from rethink.errors import Diverged
from rethink.trust.checkpoints import latest_checkpoint, read_checkpoint
from torch import nn
from torch.utils.data import Dataset


class _NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


@MODELS.register_module(force=True)
class BreaksAt(BaseModel):
    """Two losses, of which the second is ``value`` at one iteration; or its gradient is NaN at ``gradient_at``."""

    def __init__(self, at=None, value=math.nan, gradient_at=None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.layer = nn.Linear(2, 1)
        self.register_buffer('mask', torch.tensor([0.0, -math.inf]))
        self.at, self.value, self.gradient_at, self.iteration = at, value, gradient_at, 0

    def forward(self, inputs, mode):
        self.iteration += 1
        loss = self.layer(torch.stack(inputs)).square().mean()
        if self.iteration == self.gradient_at:
            loss = _NoGradient.apply(loss)
        broken = loss * self.value if self.iteration == self.at else loss
        return dict(loss_first=loss, loss_second=broken, loss_third=broken, acc=torch.tensor(math.nan))


@DATASETS.register_module(force=True)
class Same(Dataset):
    """Sixteen times the same, of which a batch is two."""

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index) -> dict:
        return dict(inputs=torch.ones(2))


@OPTIM_WRAPPERS.register_module(force=True)
class CPUScaledOptimWrapper(AmpOptimWrapper):
    """``AmpOptimWrapper`` with a loss scaler of the CPU, of which it refuses to be built."""

    def __init__(self, scale: float, **kwargs) -> None:
        OptimWrapper.__init__(self, **kwargs)
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)
        self._scale_update_param, self.cast_dtype = None, None


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without asking compilers for their versions."""
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


def runner(folder, model: dict, hooks=(), checkpoint='AtomicCheckpointHook', by_epoch=False, **optim_wrapper):
    end = dict(by_epoch=True, max_epochs=2) if by_epoch else dict(by_epoch=False, max_iters=8)
    return SteadyRunner.from_cfg(
        Config(
            dict(
                default_scope='mmengine',
                model=dict(type='BreaksAt', **model),
                work_dir=str(folder),
                experiment_name=f'{folder.name}-{len(list(folder.glob("*")))}',
                train_dataloader=dict(
                    batch_size=2,
                    dataset=dict(type='Same'),
                    sampler=dict(type='DefaultSampler', shuffle=False),
                ),
                train_cfg=end,
                optim_wrapper=dict(dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)), **optim_wrapper),
                default_hooks=dict(
                    logger=dict(type='LoggerHook', interval=1),
                    checkpoint=dict(
                        type=checkpoint, by_epoch=by_epoch, interval=1 if by_epoch else 2, max_keep_ckpts=1
                    ),
                ),
                custom_hooks=list(hooks),
                visualizer=dict(
                    type='Visualizer', vis_backends=[dict(type='LocalVisBackend')], name=f'{folder}-{model}'
                ),
            )
        )
    )


@pytest.mark.parametrize(
    ('value', 'hooks'), [(math.nan, [dict(type='EMAHook')]), (math.inf, [dict(type='StopAtInvalidLossHook')])]
)
def test_a_loss_that_is_no_number_ends_the_training(tmp_path, value, hooks):
    training = runner(tmp_path, dict(at=6, value=value), hooks)
    with pytest.raises(Diverged) as error:
        training.train()
    text = str(error.value)
    assert text.startswith('at iteration 6, with a learning rate of 0.01, the loss is ')
    assert 'loss_second broke first' in text and f'{tmp_path}/iter_4.pth is the last checkpoint' in text
    assert '\n' not in text
    assert sum(isinstance(hook, StopAtInvalidLossHook) for hook in training.hooks) == 1
    # Iteration 6 is one of a checkpoint.
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_4.pth']
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_4.pth')
    content = read_checkpoint(tmp_path / 'iter_4.pth')
    for key in {'state_dict', 'ema_state_dict'} & content.keys():
        assert all(torch.isfinite(one).all() for name, one in content[key].items() if not name.endswith('mask'))
    assert ('ema_state_dict' in content) == ('EMAHook' in str(hooks))
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    assert '"step": 5' in log.read_text() and '"step": 6' not in log.read_text()


@pytest.mark.parametrize(('checkpoint', 'at'), [('AtomicCheckpointHook', 8), ('CheckpointHook', 6)])
def test_weights_that_are_no_numbers_are_not_saved_while_the_loss_is_one(tmp_path, checkpoint, at):
    # MMEngine's hook would have removed the checkpoint before.
    with pytest.raises(Diverged, match=rf'at iteration {at}, .*layer.weight and 1 other tensors have values that are'):
        runner(tmp_path, dict(gradient_at=at), checkpoint=checkpoint).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == [f'iter_{at - 2}.pth']
    assert latest_checkpoint(tmp_path) == str(tmp_path / f'iter_{at - 2}.pth')


def test_averaged_weights_are_looked_at_as_well(tmp_path):
    training = runner(tmp_path, {}, [dict(type='EMAHook')])
    ema = next(hook for hook in training.hooks if type(hook).__name__ == 'EMAHook')
    update = ema.after_train_iter

    def broken(*args, **kwargs):
        update(*args, **kwargs)
        if training.iter == 3:
            ema.ema_model.module.layer.bias.data.fill_(math.nan)

    ema.after_train_iter = broken
    with pytest.raises(Diverged, match='bias has values that are NaN'):
        training.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['iter_2.pth']


def test_in_a_training_by_epochs(tmp_path):
    # Eight iterations an epoch; the last of the second, when its checkpoint is due.
    with pytest.raises(Diverged, match='at iteration 16, .*loss is a number'):
        runner(tmp_path, dict(gradient_at=16), by_epoch=True).train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_a_step_that_the_loss_scaler_skips_is_none(tmp_path):
    training = runner(tmp_path, {}, type='CPUScaledOptimWrapper', scale=3e38)
    before = training.model.layer.weight.clone()
    training.train()
    # Gradients overflowed first, and the scale has come down until they did not.
    assert training.optim_wrapper.loss_scaler.get_scale() < 3e38
    assert not torch.equal(before, training.model.layer.weight)
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'iter_8.pth')


def test_a_loss_that_is_no_number_under_a_loss_scaler_ends_it(tmp_path):
    with pytest.raises(Diverged, match='iteration 5'):
        runner(tmp_path, dict(at=5), type='CPUScaledOptimWrapper', scale=2.0).train()


# A learning rate with which the second step overflows.
DIVERGES = """
optim_wrapper['optimizer']['lr'] = 1e30
param_scheduler = []
default_hooks['checkpoint']['interval'] = 1
"""


def test_the_tool_ends_with_a_sentence_and_another_exit_code_than_done(tmp_path, data, run_in_process):
    config = write_detector(tmp_path / 'tiny.py', data, f"{DIVERGES}visualizer['name'] = '{tmp_path}'")
    code, printed = run_in_process('train.py', config, '--work-dir', tmp_path / 'work')
    line = printed.rstrip().splitlines()[-1]
    assert code == 3
    assert line.startswith('error: at iteration ') and 'with a learning rate of 1e+30' in line
    assert 'lower the learning rate' in line and line.endswith('the annotations.')
    assert not read_run(tmp_path / 'work').finished and read_run(tmp_path / 'work').iteration > 0


FLEXIBLE = "runner_type = 'FlexibleRunner'\nstrategy = dict(type='SingleDeviceStrategy')\n"


def test_mmengines_other_runner_trains_and_is_stopped_too(tmp_path, data, run_in_process):
    config = write_detector(tmp_path / 'tiny.py', data, f"{FLEXIBLE}{DIVERGES}visualizer['name'] = '{tmp_path}'")
    right = ('--cfg-options', 'optim_wrapper.optimizer.lr=0.01', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2')
    code, printed = run_in_process('train.py', config, '--work-dir', tmp_path / 'right', *right)
    assert code is None, printed
    assert 'runner_type is FlexibleRunner: it trains as MMEngine has it' in printed
    assert (tmp_path / 'right' / 'iter_2.pth').is_file()
    code, printed = run_in_process('train.py', config, '--work-dir', tmp_path / 'work')
    assert code == 3 and printed.rstrip().splitlines()[-1].startswith('error: at iteration ')


RANK = """
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class BreaksOnRank(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 5 and get_rank() == 1:
            runner.model.module.bbox_head.conv_reg.bias.data.fill_(float('nan'))
"""


@pytest.mark.long
def test_a_loss_that_is_no_number_in_one_of_two_processes_ends_both(tmp_path, data):
    (tmp_path / 'breaks.py').write_text(RANK)
    more = "custom_imports['imports'].append('breaks')\ncustom_hooks = [dict(type='BreaksOnRank')]"
    config = write_detector(tmp_path / 'tiny.py', data, more)
    work_dir, begun = tmp_path / 'work', time.monotonic()
    done = run_tool('dist_train.sh', config, 2, '--work-dir', work_dir, PYTHONPATH=str(tmp_path), OMP_NUM_THREADS='1')
    assert done.returncode not in (0, None) and time.monotonic() - begun < 120
    assert re.search(r'error: at iteration [67] of process [01], with a learning rate', done.stderr), done.stderr
    # Iteration 6 is one of a checkpoint: the first process, whose loss was a number, has not written it.
    assert latest_checkpoint(work_dir) == str(work_dir / 'iter_4.pth')
    assert not (work_dir / 'iter_6.pth').exists()


def test_it_is_a_hook_of_its_kind():
    assert issubclass(StopAtInvalidLossHook, CheckInvalidLossHook)
