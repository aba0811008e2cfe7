"""A kill at any moment of a save leaves a work directory that resumes; PyTorch's safe loader reads the checkpoints."""

import contextlib
import itertools
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from rethink.errors import NotOnlyWeights
from rethink.files import write_atomically
from rethink.trust.checkpoints import best_checkpoint, latest_checkpoint, read_checkpoint
from torch.utils.data import DataLoader

NAMES = itertools.count()


class Killed(BaseException):
    """In place of SIGKILL: nothing in between catches or cleans up after it."""


class Line(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, numbers, mode='tensor'):
        if mode == 'predict':
            return [self.weight.item()]
        return dict(loss=self.weight * numbers.sum())


class Fall(BaseMetric):
    """How far the weight has fallen, which it does in each step."""

    def process(self, data_batch, data_samples):
        self.results.append(-data_samples[0])

    def compute_metrics(self, results):
        return dict(AP=results[0])


def runner(folder, until, hook='AtomicCheckpointHook', resume=True, **options):
    """With ``save_best`` it is evaluated after each epoch."""
    evaluated = {}
    if options.get('save_best'):
        loader = DataLoader(torch.arange(1.0), collate_fn=lambda n: dict(numbers=torch.stack(n)))
        evaluated = dict(val_dataloader=loader, val_cfg=dict(), val_evaluator=Evaluator(Fall()))
    return Runner(
        **evaluated,
        model=Line(),
        work_dir=str(folder),
        train_dataloader=DataLoader(
            torch.arange(4.0), batch_size=2, collate_fn=lambda n: dict(numbers=torch.stack(n))
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=until),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(dict(type=hook, interval=1, max_keep_ckpts=1), **options),
        ),
        resume=resume,
        experiment_name=f'checkpoint{next(NAMES)}',
    )


@pytest.mark.parametrize('step', range(4))
def test_a_kill_amid_a_save_leaves_the_old_one(tmp_path, monkeypatch, step):
    """Two files are flushed and two renamed in a save; killed before each of the four."""
    runner(tmp_path, 2).train()
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    calls = itertools.count()

    def killed(original, *args):
        if next(calls) == step:
            raise Killed
        return original(*args)

    for name in ('fsync', 'replace'):
        monkeypatch.setattr(os, name, partial(killed, getattr(os, name)))
    with pytest.raises(Killed):
        runner(tmp_path, 3).train()
    monkeypatch.undo()
    last = latest_checkpoint(tmp_path)
    # Whole before the pointer to it.
    epoch = 2 if step < 2 else 3
    assert last == str(tmp_path / f'epoch_{epoch}.pth')
    assert read_checkpoint(last)['meta']['epoch'] == epoch
    again = runner(tmp_path, 4)
    again.train()
    assert again.epoch == 4
    # The old ones are gone, the one of the kill included.
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_4.pth']
    assert not list(tmp_path.glob('.*part'))


@pytest.mark.parametrize('hook', ['AtomicCheckpointHook', 'CheckpointHook'])
def test_a_kill_before_the_pointer_loses_nothing(tmp_path, capsys, hook):
    """What is further and of the same training is taken; what another has left in the folder is not."""

    def train(until, back_to=None):
        training = runner(tmp_path, until, hook, resume=back_to is not None, max_keep_ckpts=-1)
        if back_to:
            training._load_from = str(tmp_path / back_to)
        training.train()
        capsys.readouterr()

    def taken() -> str:
        return Path(latest_checkpoint(tmp_path)).name

    train(3)
    pointer = tmp_path / 'last_checkpoint'
    pointer.write_text(str(tmp_path / 'epoch_1.pth'))
    assert taken() == 'epoch_3.pth'
    (line,) = capsys.readouterr().out.splitlines()
    assert f'of iteration 6 of the same training: resuming from epoch_3.pth (--resume {tmp_path}/epoch_1.pth' in line
    # Half-written: the one before it.
    whole = (tmp_path / 'epoch_3.pth').read_bytes()
    (tmp_path / 'epoch_3.pth').write_bytes(whole[:-100])
    assert taken() == 'epoch_2.pth'
    (tmp_path / 'epoch_3.pth').write_bytes(whole)
    # Gone back to the first epoch: the same losses, and other times.
    train(2, 'epoch_1.pth')
    assert taken() == 'epoch_2.pth'
    assert 'epoch_3.pth is of iteration 6, and of another training' in capsys.readouterr().out
    # Begun anew, and gone on from there.
    train(1)
    assert taken() == 'epoch_1.pth'
    train(2, 'epoch_1.pth')
    pointer.write_text(str(tmp_path / 'epoch_1.pth'))
    assert taken() == 'epoch_2.pth'
    assert 'of iteration 4 of the same training' in capsys.readouterr().out


def test_the_stock_hook_does_not_survive(tmp_path, monkeypatch):
    """What the hook is for: with max_keep_ckpts=1 MMEngine's removes the old checkpoint before it writes."""
    runner(tmp_path, 2, 'CheckpointHook').train()
    monkeypatch.setattr(
        'mmengine.runner.runner.save_checkpoint', lambda *args, **kwargs: (_ for _ in ()).throw(Killed)
    )
    with pytest.raises(Killed):
        runner(tmp_path, 3, 'CheckpointHook').train()
    assert not list(tmp_path.glob('*.pth'))


BEST = dict(save_best='AP', rule='greater')
NAME = 'best_AP_epoch_{}.pth'


def bests(folder):
    return sorted(path.name for path in folder.glob('best_*.pth'))


@pytest.mark.parametrize('step', range(10))
def test_a_kill_amid_a_better_best_leaves_one_and_in_the_end_there_is_one(tmp_path, monkeypatch, step):
    """Each file of an epoch is renamed, and the old ones are removed: killed before each of these."""
    runner(tmp_path, 2, **BEST).train()
    assert bests(tmp_path) == [NAME.format(2)]
    calls = itertools.count()

    def killed(original, *args, **kwargs):
        if next(calls) == step:
            raise Killed
        return original(*args, **kwargs)

    for name in ('replace', 'remove'):
        monkeypatch.setattr(os, name, partial(killed, getattr(os, name)))
    with contextlib.suppress(Killed):
        runner(tmp_path, 3, **BEST).train()
    monkeypatch.undo()
    left = best_checkpoint(tmp_path)
    assert left and read_checkpoint(left)['meta']['epoch'] in (2, 3)
    runner(tmp_path, 4, **BEST).train()
    runner(tmp_path / 'whole', 4, **BEST).train()
    assert bests(tmp_path) == bests(tmp_path / 'whole') == [NAME.format(4)]
    one, other = (read_checkpoint(folder / NAME.format(4))['state_dict'] for folder in (tmp_path, tmp_path / 'whole'))
    assert torch.equal(one['weight'], other['weight'])
    info = read_checkpoint(latest_checkpoint(tmp_path))['message_hub']['runtime_info']
    assert info['best_ckpt'] == str(tmp_path / NAME.format(4)) and info['best_score'] == -one['weight'].item()


def test_the_stock_hook_leaves_no_best_when_killed(tmp_path, monkeypatch):
    runner(tmp_path, 2, 'CheckpointHook', **BEST).train()
    save = Runner.save_checkpoint

    def killed(self, folder, filename, *args, **kwargs):
        if filename.startswith('best'):
            raise Killed
        save(self, folder, filename, *args, **kwargs)

    monkeypatch.setattr(Runner, 'save_checkpoint', killed)
    with pytest.raises(Killed):
        runner(tmp_path, 3, 'CheckpointHook', **BEST).train()
    assert not bests(tmp_path)


def test_the_best_of_several_metrics_stay_what_they_are(tmp_path):
    """One that rises and one of which the first is the best, as with MMEngine's hook."""
    several = dict(save_best=['AP', 'fallen'], rule=['greater', 'less'])

    def both(hook, folder):
        one = runner(folder, 3, hook, resume=False, **several)
        one.val_evaluator.metrics[0].compute_metrics = lambda results: dict(AP=results[0], fallen=results[0])
        one.train()
        return bests(folder)

    expected = ['best_AP_epoch_3.pth', 'best_fallen_epoch_1.pth']
    assert both('AtomicCheckpointHook', tmp_path / 'a') == both('CheckpointHook', tmp_path / 'b') == expected


def test_a_copied_folder_leaves_the_best_of_the_other_alone(tmp_path):
    runner(tmp_path / 'a', 2, **BEST).train()
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    (tmp_path / 'b' / 'last_checkpoint').write_text(str(tmp_path / 'b' / 'epoch_2.pth'))
    runner(tmp_path / 'b', 3, **BEST).train()
    assert bests(tmp_path / 'a') == [NAME.format(2)] and bests(tmp_path / 'b') == [NAME.format(3)]


def test_the_best_is_that_of_the_last_training_in_a_folder(tmp_path):
    """One that was started anew, and is not yet as far as the one before."""
    runner(tmp_path, 3, **BEST).train()
    runner(tmp_path, 2, resume=False, **BEST).train()
    assert bests(tmp_path) == [NAME.format(2), NAME.format(3)]
    assert best_checkpoint(tmp_path) == str(tmp_path / NAME.format(2))
    (tmp_path / 'last_checkpoint').unlink()
    assert best_checkpoint(tmp_path) == str(tmp_path / NAME.format(3))


def test_same_files_as_the_stock_hook(tmp_path):
    runner(tmp_path / 'a', 3, resume=False).train()
    runner(tmp_path / 'b', 3, 'CheckpointHook', resume=False).train()
    ours, stock = (read_checkpoint(tmp_path / name / 'epoch_3.pth') for name in 'ab')
    assert ours.keys() == stock.keys()
    assert torch.equal(ours['state_dict']['weight'], stock['state_dict']['weight'])
    # Beside them MMEngine leaves the config, named by the second of the start.
    names = [
        {path.name for path in (tmp_path / name).iterdir() if path.is_file() and path.suffix != '.py'} for name in 'ab'
    ]
    assert 'last_checkpoint' in names[0] and names[0] - {'last_checkpoint'} == names[1] - {'last_checkpoint'}


@pytest.mark.parametrize('left', ['', 'half', 'moved', 'gone'])
def test_resume_finds_the_newest_whole_checkpoint(tmp_path, left, capsys):
    """What MMEngine's own hook leaves behind after a kill, and a folder that was moved."""
    work, other = tmp_path / 'work', tmp_path / 'other'
    runner(work, 2, resume=False).train()
    whole = work / 'epoch_2.pth'
    if left == 'half':
        (work / 'epoch_3.pth').write_bytes(whole.read_bytes()[:-100])
        (work / 'last_checkpoint').write_text(str(work / 'epoch_3.pth'))
    elif left == 'moved':
        work.rename(other)
        work, whole = other, other / 'epoch_2.pth'
    elif left == 'gone':
        whole.unlink()
        whole = None
    else:
        (work / 'last_checkpoint').write_text('')
    assert latest_checkpoint(work) == (whole and str(whole))
    assert ('last_checkpoint names' in capsys.readouterr().out) == (left != 'moved')


def test_no_checkpoint_is_the_beginning(tmp_path):
    assert latest_checkpoint(tmp_path) is None


def test_an_old_file_is_replaced_whole(tmp_path):
    write_atomically(tmp_path / 'new' / 'file', b'old')
    write_atomically(tmp_path / 'new' / 'file', b'new')
    assert [path.read_bytes() for path in (tmp_path / 'new').iterdir()] == [b'new']


class Evil:
    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


def test_reading_runs_nothing(tmp_path):
    """getattr, which the logs in a checkpoint need, gives nothing but statistics of HistoryBuffer."""
    torch.save(dict(evil=Evil()), tmp_path / 'evil.pth')
    with pytest.raises(NotOnlyWeights, match='tofile'):
        read_checkpoint(tmp_path / 'evil.pth')


def test_logs_are_read_and_still_are_after_mmengine_loaded(tmp_path):
    runner(tmp_path, 1, resume=False).train()
    runner(tmp_path, 2).train()  # loads
    scalars = read_checkpoint(tmp_path / 'epoch_2.pth')['message_hub']['log_scalars']
    assert scalars['train/loss'].current() == scalars['train/loss'].data[0][-1]
