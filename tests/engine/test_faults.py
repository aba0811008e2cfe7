"""What happens around a run: full disks, folders that go, processes that are killed, stopped or stand still.

Each ends in a sentence, with what was kept before, and leaves no process behind (docs/trust.md).
"""

import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, run_tool, write_coco, write_detector
from mmengine.config import Config
from rethink.analysis.logs import read_run
from rethink.engine import faults, launch
from rethink.engine.runner import _claim
from rethink.errors import describe
from rethink.trust.checkpoints import latest_checkpoint, read_checkpoint
from torch.utils.data import DataLoader, Dataset, dataloader

# A training that does not end by itself; its log and its checkpoints come often.
ENDLESS = (
    'train_cfg.max_iters=100000',
    'train_cfg.val_interval=100000',
    'param_scheduler.1.end=100000',
    'param_scheduler.1.milestones=[60000,70000]',
    'train_dataloader.batch_size=1',
    'default_hooks.logger.interval=5',
    'default_hooks.checkpoint.interval=10',
)
HOOK = """
import time
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Fails(Hook):
    def __init__(self, rank, how):
        self.rank, self.how = rank, how

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == 15 and get_rank() == self.rank:
            if self.how == 'sleep':
                time.sleep(1000)
            raise ValueError('it fails' + chr(10) + 'on two lines')
"""


def _heed_signals() -> None:
    """Tests in the background of a shell, or below nohup, ignore them, and so would the processes that they start."""
    for one in (signal.SIGINT, signal.SIGHUP):
        signal.signal(one, signal.SIG_DFL)


class Training:
    """A training in the background, in ``folder``/work, on data of its own; killed with all it started at the end."""

    def __init__(self, folder: Path, processes: int = 1, more: str = '', options=(), **popen) -> None:
        self.folder, self.work_dir = folder, folder / 'work'
        write_coco(folder / 'data', images=6)
        (folder / 'fails.py').write_text(HOOK)
        file = write_detector(folder / 'tiny.py', folder / 'data', workers=2, more=more)
        tool = ['bash', 'tools/dist_train.sh', file, str(processes)]
        self.command = [sys.executable, 'tools/train.py', file] if processes == 1 else tool
        self.command += ['--work-dir', self.work_dir, '--cfg-options', *ENDLESS, *options]
        environment = dict(CUDA_VISIBLE_DEVICES='', PYTHON=sys.executable, OMP_NUM_THREADS='1', PYTHONPATH=str(folder))
        # By which all that it starts is known.
        environment['TRAINING_OF'] = str(folder)
        with open(folder / 'out', 'w') as out, open(folder / 'err', 'w') as err:
            self.process = subprocess.Popen(
                list(map(str, self.command)),
                cwd=ROOT,
                env=os.environ | environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=popen.get('before', _heed_signals),
            )

    def until(self, text: str = 'Iter(train) [    20', seconds: float = 120) -> 'Training':
        end = time.monotonic() + seconds
        while text not in (self.folder / 'out').read_text():
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / 'err').read_text()
            time.sleep(0.05)
        return self

    def family(self) -> list[tuple[int, int]]:
        """Process and parent of all that is alive of it."""
        found = []
        for entry in filter(str.isdigit, os.listdir('/proc')):
            try:
                environment = Path(f'/proc/{entry}/environ').read_bytes()
                state, parent = Path(f'/proc/{entry}/stat').read_text().rsplit(')', 1)[1].split()[:2]
            except OSError:
                continue
            if f'TRAINING_OF={self.folder}'.encode() in environment.split(b'\0') and state != 'Z':
                found.append((int(entry), int(parent)))
        return sorted(found)

    def children(self, of: int) -> list[int]:
        return [pid for pid, parent in self.family() if parent == of]

    def ended(self, code: int, within: float, left: float = 5) -> str:
        """It ends with ``code`` in so many seconds and leaves nothing behind; the one sentence on stderr."""
        assert self.process.wait(within) == code, self.errors()
        end = time.monotonic() + left
        while self.family():
            assert time.monotonic() < end, (self.family(), self.errors())
            time.sleep(0.05)
        errors = self.errors()
        assert 'Traceback' not in errors, errors
        lines = [line for line in errors.splitlines() if line.startswith(('error: ', 'stopped'))]
        assert len(lines) == (code >= 0), errors
        return lines[0] if lines else ''

    def errors(self) -> str:
        return (self.folder / 'err').read_text()

    def kept(self) -> int:
        """The iteration of the last checkpoint, which is whole; nothing half-written is beside it that stays."""
        return read_checkpoint(latest_checkpoint(self.work_dir))['meta']['iter']


@pytest.fixture
def train(tmp_path):
    running = []

    def start(*args, **options) -> Training:
        running.append(Training(tmp_path, *args, **options))
        return running[-1]

    yield start
    for one in running:
        for pid, _ in one.family():
            os.kill(pid, signal.SIGKILL)
        one.process.wait()


# --- one process -----------------------------------------------------------------------------------------------------


def test_a_second_training_in_the_folder_is_refused_and_ctrl_c_ends_the_first(train):
    one = train().until()
    again = subprocess.run(list(map(str, one.command)), cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2 and again.stderr.count('error: ') == 1
    assert f'work is in use by process {one.process.pid} on host ' in again.stderr
    assert 'tools/train.py' in again.stderr
    os.killpg(one.process.pid, signal.SIGINT)
    assert one.ended(130, 5) == (
        'stopped; the same command with --resume goes on from the last checkpoint, where there is one.'
    )
    assert one.kept() >= 10 and not (one.work_dir / '.lock').exists()


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGHUP])
def test_data_workers_end_with_their_training(train, how):
    one = train().until()
    assert len(one.children(one.process.pid)) == 2
    one.process.send_signal(how)
    one.ended(-9 if how == signal.SIGKILL else 129, 5)
    assert one.kept() >= 10


@pytest.mark.long
@pytest.mark.parametrize(
    'option', ['env_cfg.mp_cfg.mp_start_method=spawn', 'train_dataloader.persistent_workers=True']
)
def test_workers_of_any_kind_end_with_their_training(train, option):
    one = train(options=[option]).until()
    assert len(one.children(one.process.pid)) >= 2
    one.process.kill()
    one.ended(-9, 5)


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_twice_to_everyone_ends_it_at_once(train, number):
    one = train().until()
    os.killpg(one.process.pid, number)
    time.sleep(0.02)
    os.killpg(one.process.pid, number)
    assert one.process.wait(5) == 128 + number
    assert 'Traceback' not in one.errors() and one.kept() >= 10


def test_a_killed_worker(train):
    one = train().until()
    os.kill(one.children(one.process.pid)[0], signal.SIGKILL)
    sentence = one.ended(3, 15)
    assert 'was killed, most likely by the system because memory ran out' in sentence and '--resume' in sentence


def test_a_worker_that_is_killed_while_it_hands_a_batch_over(monkeypatch):
    """PyTorch does not look at its workers there; what is left is a connection that ends."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    sender.close()
    monkeypatch.setattr(dataloader._MultiProcessingDataLoaderIter, '_try_get_data', lambda self: receiver.recv())
    with pytest.raises(EOFError) as raised:
        next(iter(DataLoader(range(4), num_workers=1)))
    assert faults.sentence(raised.value).startswith('a data worker was killed, most likely by the system')
    with pytest.raises(EOFError) as raised:
        receiver.recv()
    assert faults.sentence(raised.value) is None


def test_an_image_that_goes_while_training_is_named(train):
    one = train().until()
    (one.folder / 'data' / 'images').rename(one.folder / 'data' / 'elsewhere')
    assert f'error: {one.folder}/data/images/00' in one.ended(3, 15)


@pytest.mark.long
@pytest.mark.parametrize('instead', ['nothing', 'a file'])
def test_a_work_directory_that_goes(train, instead):
    one = train().until()
    shutil.rmtree(one.work_dir, ignore_errors=True)
    shutil.rmtree(one.work_dir, ignore_errors=True)
    if instead == 'a file':
        one.work_dir.write_text('')
    assert f'the work directory {one.work_dir} was removed, or something else is in its place' in one.ended(3, 15)


def limited(number: int):
    def before():
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))

    return before


@pytest.mark.parametrize(
    ('number', 'file'),
    [
        (300, 'a file'),
        pytest.param(10_000, '.log could', marks=pytest.mark.long),
        pytest.param(100_000, 'iter_10.pth', marks=pytest.mark.long),
    ],
)
def test_a_file_that_cannot_be_written_to_its_end(train, number, file):
    """The copy that MMEngine makes of a config does not fit, or the log, or the first checkpoint."""
    one = train(before=limited(number))
    sentence = one.ended(3, 60)
    assert 'could not be written (File too large)' in sentence
    assert file in sentence
    assert not list(one.work_dir.glob('*.pth')) and not list(one.work_dir.glob('.*.part'))


@pytest.mark.long
def test_a_disk_that_is_full_between_checkpoints(train, tmp_path):
    """A disk of its own, of two checkpoints and a half."""
    disk = tmp_path / 'work'
    disk.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1400k', 'tmpfs', disk], capture_output=True).returncode:
        pytest.skip('only root may mount a small disk; what is limited without one is tested above')
    try:
        one = train(options=['default_hooks.checkpoint.max_keep_ckpts=-1'])
        sentence = one.ended(3, 60)
        assert 'could not be written (No space left on device); make room there' in sentence
        assert one.kept() == 20
        # Read-only by a bind over it: what the training was in stays busy for a moment.
        subprocess.run(['mount', '--bind', disk, disk], check=True)
        subprocess.run(['mount', '-o', 'remount,ro,bind', disk], check=True)
        again = subprocess.run(list(map(str, one.command)), cwd=ROOT, capture_output=True, text=True)
        assert again.returncode == 2 and 'cannot be written to (Read-only file system)' in again.stderr
        assert 'Traceback' not in again.stderr
    finally:
        while not subprocess.run(['umount', '-l', disk], capture_output=True).returncode:
            pass


def test_a_file_in_place_of_the_work_directory(tmp_path, data, run_in_process):
    (tmp_path / 'work').write_text('')
    file = write_detector(tmp_path / 'tiny.py', data)
    code, printed = run_in_process('train.py', file, '--work-dir', tmp_path / 'work')
    assert code == 2 and f'error: {tmp_path}/work cannot be written to' in printed


# --- two processes ---------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_one_of_two_is_killed(train):
    one = train(2).until()
    os.kill(one.children(one.process.pid)[1], signal.SIGKILL)
    assert 'process 1 was killed by signal 9' in one.ended(137, 40)
    assert one.kept() >= 10


@pytest.mark.long
@pytest.mark.parametrize('rank', [0, 1])
def test_one_of_two_is_stopped(train, rank):
    one = train(2).until()
    os.kill(one.children(one.process.pid)[rank], signal.SIGSTOP)
    assert f'process {rank} on host {os.uname().nodename} is stopped and has not reported for 1' in one.ended(3, 60)
    assert one.kept() >= 10


@pytest.mark.long
@pytest.mark.parametrize('rank', [0, 1])
@pytest.mark.parametrize('how', ['sleep', 'raise'])
def test_one_of_two_stands_still_or_raises(train, rank, how):
    more = 'custom_imports = dict(imports=["rethink", "fails"])\n'
    more += f'custom_hooks = [dict(type="Fails", rank={rank}, how="{how}")]'
    sentence = train(2, more, ['env_cfg.dist_cfg.timeout=20']).ended(3, 90)
    if how == 'raise':
        assert 'ValueError: it fails on two lines at ' in sentence and 'fails.py:' in sentence
        kept = Path(sentence.split('the traceback is in ')[1].split(';')[0])
        assert kept.parent.name == 'work' and "raise ValueError('it fails'" in kept.read_text()
    else:
        assert f'the others waiting for process {rank} on host' in sentence and 'fails.py:' in sentence


@pytest.mark.long
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_launcher_is_stopped(train, number):
    one = train(2).until()
    os.kill(one.process.pid, number)
    assert 'goes on from its last checkpoint with --resume' in one.ended(128 + number, 40)


def test_the_launcher_is_killed(train):
    one = train(2).until()
    assert len(one.children(one.process.pid)) == 2
    one.process.kill()
    assert one.process.wait(5) == -9
    end = time.monotonic() + 10
    while one.family():
        assert time.monotonic() < end, one.errors()
        time.sleep(0.05)
    assert one.errors().count('error: the launcher') == 1 and 'Traceback' not in one.errors()


@pytest.mark.long
def test_the_port_is_taken(tmp_path, data):
    file = write_detector(tmp_path / 'tiny.py', data)
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run_tool('dist_train.sh', file, 2, '--work-dir', tmp_path / 'work', PORT=port)
        assert result.returncode == 2 and 'Traceback' not in result.stderr, result.stderr
        assert f'the port {port}, on which the processes were to meet, is taken' in result.stderr
        # As srun and mpirun start them: the processes meet by themselves.
        rank = dict(OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_SIZE='2', OMPI_COMM_WORLD_LOCAL_RANK='0')
        rank |= dict(OMPI_COMM_WORLD_LOCAL_SIZE='2', MASTER_PORT=port, MASTER_ADDR='127.0.0.1')
        result = run_tool('train.py', file, '--work-dir', tmp_path / 'work', '--launcher', 'mpi', **rank)
        assert result.returncode == 3 and 'Traceback' not in result.stderr, result.stderr
        assert f'the port {port}, on which the processes were to meet, is taken' in result.stderr


# --- without a run ---------------------------------------------------------------------------------------------------


class Broken(Dataset):
    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if self.how == 'missing':
            return open('/nowhere/7.jpg')
        if self.how == 'broken':
            raise AssertionError('failed to load image: /data/7.jpg')
        raise KeyError('it')


@pytest.mark.parametrize('workers', [0, 1])
def test_what_a_data_worker_raises_is_known_by_its_file(workers):
    def error(how):
        with pytest.raises(Exception) as caught:
            next(iter(DataLoader(Broken(how), num_workers=workers)))
        return caught.value

    assert faults.sentence(error('missing')).startswith('/nowhere/7.jpg is not there')
    assert faults.sentence(error('broken')).startswith('the image /data/7.jpg cannot be decoded')
    other = error('other')
    assert faults.sentence(other) is None
    assert describe(other).startswith("KeyError: 'it'")
    assert launch.where(other).startswith(f'{__file__}:')


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'), 'the GPU has no memory left'),
        (MemoryError(), 'this machine has no memory left'),
        (RuntimeError('unable to write to file </torch_1_2>: No space left on device (28)'), '--shm-size'),
        (RuntimeError('DataLoader worker (pid 7) is killed by signal: Bus error. It is'), 'shared memory'),
        (RuntimeError('DataLoader worker (pid(s) 7, 8) exited unexpectedly'), 'process 7, 8) was killed'),
        (
            RuntimeError(
                'Expected to have finished reduction in the prior iteration before starting a new one. … Parameter '
                'indices which did not receive grad for rank 0: 12 13\n In addition, you can set …'
            ),
            '(number 12, 13 of those that are trained); set find_unused_parameters=True',
        ),
        (BrokenPipeError(32, 'Broken pipe'), 'what read the output'),
        (OSError(28, 'No space left on device'), 'a file of the run, in W, could not be written'),
        (OSError(24, 'Too many open files', '/x'), 'ulimit -n'),
    ],
)
def test_sentences(error, words):
    assert words in faults.sentence(error, dict(work_dir='W')) and not faults.lost_process(error)


def test_parameters_without_a_gradient_are_named(tmp_path, data):
    """DDP numbers those that are trained, and leaves frozen ones out."""
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data, "model['backbone'].update(frozen_stages=0)"))
    error = RuntimeError(
        'Expected to have finished reduction in the prior iteration before starting a new one. … Parameter indices '
        'which did not receive grad for rank 0: 0\n In addition, you can set …'
    )
    assert "without a gradient ('backbone.layer1.0.conv1.weight'); set find" in faults.sentence(error, cfg)


def test_predictions_that_cannot_be_written_leave_the_old_ones(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, 'No space left on device')

    file = tmp_path / 'predictions.pkl'
    runner = SimpleNamespace(
        default_scope=SimpleNamespace(scope_name='mmdet'), test_evaluator=SimpleNamespace(metrics=[])
    )
    launch.dump_predictions(runner, str(file))
    (metric,) = runner.test_evaluator.metrics
    metric.compute_metrics([dict(img_id=1)])
    assert pickle.loads(file.read_bytes()) == [dict(img_id=1)]
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError) as caught:
        metric.compute_metrics([])
    assert pickle.loads(file.read_bytes()) == [dict(img_id=1)] and [file] == list(tmp_path.iterdir())
    assert faults.sentence(caught.value).startswith(f'{file} could not be written')


def test_what_a_lost_process_looks_like():
    for text in (
        '[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:41',
        'Timed out waiting 20000ms for recv operation to complete',
        'NCCL error: remote process exited or there was a network error',
    ):
        assert faults.lost_process(RuntimeError(text)) and faults.sentence(RuntimeError(text)) is None
    assert not faults.lost_process(RuntimeError('The size of tensor a (3) must match'))


def test_log_folders_are_named_in_the_order_of_the_starts(tmp_path, monkeypatch):
    """In the same second, and after the clock was set back or the hour of winter time came; the later log holds."""
    clock = iter([1_800_000_000, 1_800_000_000, 1_800_000_000 - 3600, 1_700_000_000, 1_900_000_000])
    monkeypatch.setattr(time, 'time', lambda: next(clock))
    (tmp_path / 'not a time').mkdir()
    names = []
    for start in range(5):
        names.append(_claim(tmp_path))
        log = tmp_path / names[-1] / 'vis_data'
        log.mkdir()
        (log / 'scalars.json').write_text(
            f'{{"loss": {start}, "step": 1}}\n{{"loss": {start}, "step": {start + 2}}}\n'
        )
    assert names == sorted(set(names))
    # Each begins anew, and the last of them is the training.
    assert {at: entry['loss'] for at, entry in read_run(tmp_path).train.items()} == {1: 4, 6: 4}
