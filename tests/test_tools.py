"""The tools as a user calls them: whole runs, in one process and in two, killed and resumed, and wrong input."""

import importlib.util
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT, run_tool, write_detector
from web_server import web_server

# GN, no flips and no groups by aspect ratio: what a step computes then depends only on the images in it.
EXACT = (
    'train_dataloader.dataset.pipeline.3.prob=0.0',
    'train_dataloader.batch_sampler=None',
    'train_cfg.max_iters=3',
    'train_cfg.val_interval=3',
)


@pytest.fixture(scope='module')
def file(tmp_path_factory, data) -> Path:
    return write_detector(tmp_path_factory.mktemp('config') / 'tiny.py', data, norm="type='GN', num_groups=4")


@pytest.fixture(scope='module')
def work(file) -> Path:
    return file.parent


@pytest.fixture(scope='module')
def one(file, work):
    """A training in one process with two images in a step; ends with the metrics."""
    result = run_tool('train.py', file, '--work-dir', work / 'one', '--cfg-options', *EXACT)
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout
    return work / 'one' / 'iter_3.pth'


@pytest.fixture(scope='module')
def two(file, work):
    """The same with two processes, one image each."""
    options = ['--cfg-options', *EXACT, 'train_dataloader.batch_size=1']
    result = run_tool('dist_train.sh', file, 2, '--work-dir', work / 'two', *options)
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout and 'GPU number: 2' in result.stdout
    return work / 'two' / 'iter_3.pth'


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def test_two_processes_take_the_steps_of_one(one, two):
    mine, theirs = weights(one), weights(two)
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_test_in_two_processes_gives_what_it_gives_in_one(file, work, one):
    """Of a file, and of an address that the two download."""
    outputs = []
    with web_server() as web:
        address = web.put('model.pth', one.read_bytes())
        for name, trained, more in (('test.py', one, ()), ('dist_test.sh', address, (2,))):
            out = work / f'{name}.pkl'
            options = ['--work-dir', work / 'test', '--out', out]
            result = run_tool(name, file, trained, *more, *options, TORCH_HOME=str(work / 'cache'))
            assert result.returncode == 0, result.stderr
            assert 'coco/bbox_mAP: ' in result.stdout and f'tensors come from {trained}.' in result.stdout
            outputs.append({image['img_id']: image['pred_instances'] for image in pickle.loads(out.read_bytes())})
    assert outputs[0].keys() == outputs[1].keys() and len(outputs[0]) == 12
    assert sum(len(instances['scores']) for instances in outputs[0].values()) > 12
    for image, instances in outputs[0].items():
        torch.testing.assert_close(outputs[1][image]['scores'], instances['scores'])
        torch.testing.assert_close(outputs[1][image]['bboxes'], instances['bboxes'])


def test_tta_and_show_dir(file, work, one):
    result = run_tool('test.py', file, one, '--work-dir', work / 'tta', '--tta', '--show-dir', 'shown')
    assert result.returncode == 0, result.stderr
    assert 'coco/bbox_mAP: ' in result.stdout
    assert list((work / 'tta').glob('*/shown/*.png'))


def rates(log: str) -> dict[int, str]:
    return {int(i): lr for i, lr in re.findall(r'Iter\(train\) \[ *(\d+)/\d+\] +lr: (\S+)', log)}


@pytest.mark.parametrize('name', ['train.py', 'dist_train.sh'])
def test_killed_and_resumed(file, work, name):
    """SIGKILL in the middle; --resume goes on from the last checkpoint, in the schedule, and ends like any other."""
    folder = work / f'killed {name}'
    # Scaled from 4 images to 2, in one process and in two: 16 iterations.
    batch = 2 if name == 'train.py' else 1
    arguments = [*([2] if name == 'dist_train.sh' else []), '--work-dir', folder, '--auto-scale']
    options = ['--cfg-options', f'train_dataloader.batch_size={batch}', 'default_hooks.checkpoint.max_keep_ckpts=1']
    first = ['bash' if name.endswith('sh') else sys.executable, f'tools/{name}', file, *arguments, *options]
    environment = os.environ | dict(CUDA_VISIBLE_DEVICES='', PYTHON=sys.executable)
    with open(work / 'log', 'w') as log:
        process = subprocess.Popen(list(map(str, first)), cwd=ROOT, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not (folder / 'last_checkpoint').exists():
            assert process.poll() is None and time.monotonic() < deadline, (work / 'log').read_text()
            time.sleep(0.05)
        # torchrun puts its processes into sessions of their own: all of them, and it.
        children = Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()
        for pid in (process.pid, *map(int, children)):
            os.kill(pid, signal.SIGKILL)
        process.wait()
    before = rates((work / 'log').read_text())
    last = Path((folder / 'last_checkpoint').read_text())
    trained = int(re.search(r'\d+', last.stem)[0])
    assert last.exists() and max(before) < 16

    result = run_tool(name, file, *arguments, '--resume', *options)
    assert result.returncode == 0, result.stderr
    assert f'Continuing with batch {trained + 1}' in result.stdout
    assert re.search(r'train_cfg\.max_iters +8 → 16', result.stdout)
    after = rates(result.stdout)
    assert sorted(after) == list(range(trained + 1, 17))
    # 0.01 halved, a tenth after 12 and again after 14 of 16 iterations.
    assert [after[i] for i in (12, 13, 15)] == ['5.0000e-03', '5.0000e-04', '5.0000e-05']
    assert [path.name for path in folder.glob('*.pth')] == ['iter_16.pth']


def losses(log: str) -> dict[int, str]:
    return {int(i): loss for i, loss in re.findall(r'Iter\(train\) \[ *(\d+)/\d+\].* loss: (\S+)', log)}


def test_resume_without_a_checkpoint_is_a_training_from_load_from(file, work, one):
    """As a grid starts each of its points: killed before the first checkpoint, or never begun."""
    options = ['--cfg-options', f'load_from={one}', *EXACT]
    plain = run_tool('train.py', file, '--work-dir', work / 'plain', *options)
    resumed = run_tool('train.py', file, '--work-dir', work / 'resumed', '--resume', *options)
    assert resumed.returncode == plain.returncode == 0, resumed.stderr
    scratch = run_tool('train.py', file, '--work-dir', work / 'random', '--cfg-options', *EXACT)
    assert losses(resumed.stdout) == losses(plain.stdout) != losses(scratch.stdout)
    assert len(losses(plain.stdout)) == len(losses(scratch.stdout)) == 3


def test_amp_on_cpu(file, work):
    result = run_tool('train.py', file, '--work-dir', work / 'amp', '--amp', '--cfg-options', *EXACT)
    assert result.returncode == 0, result.stderr
    log = result.stdout
    assert "type='CPUAmpOptimWrapper'" in log
    losses = [float(loss) for loss in re.findall(r'Iter\(train\).* loss: (\S+)', log)]
    assert len(losses) == 3 and all(0 < loss < 20 for loss in losses)


# --- wrong input -----------------------------------------------------------------------------------------------------


def sentence(result) -> str:
    """The one line that is the error, and the only one of its kind; no traceback."""
    assert result.returncode == 2, result.stderr
    assert 'Traceback' not in result.stderr + result.stdout
    assert 'Iter(train)' not in result.stdout
    errors = [line for line in result.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, result.stderr
    return errors[0]


def test_wrong_input_to_train(file, work):
    options = ['--cfg-options', 'train_dataloader.dataset.ann_file=nothing.json']
    assert 'nothing.json of train_dataloader.dataset' in sentence(run_tool('train.py', file, *options))
    options = ['--cfg-options', 'train_dataloader.dataset.pipeline.3.prob=often', '--work-dir', work / 'wrong']
    assert 'probs must be float' in sentence(run_tool('train.py', file, *options))


def parse(monkeypatch, name, *arguments):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr('sys.argv', [name, *arguments])
    return vars(module.parse_args())


def test_arguments_and_defaults_are_those_of_mmdetection(monkeypatch, capsys):
    stock = dict(config='c', work_dir=None, cfg_options=None, launcher='none', local_rank=0)
    train = stock | dict(amp=False, auto_scale_lr=False, resume=None)
    ours = dict(auto_scale=False, no_check=False, resume_with=None, tensorboard=False, wandb=False, mlflow=False)
    assert parse(monkeypatch, 'train', 'c') == train | ours
    assert parse(monkeypatch, 'train', 'c', '--resume')['resume'] == 'auto'
    assert parse(monkeypatch, 'train', 'c', '--resume', 'x.pth')['resume'] == 'x.pth'
    assert parse(monkeypatch, 'train', 'c', '--cfg-options', 'a.b=1', 'c=[x,y]')['cfg_options'] == {
        'a.b': 1,
        'c': ['x', 'y'],
    }
    assert parse(monkeypatch, 'train', 'c', '--local-rank', '1')['local_rank'] == 1
    test = stock | dict(checkpoint='k', out=None, show=False, show_dir=None, wait_time=2, tta=False)
    assert parse(monkeypatch, 'test', 'c', 'k') == test
    for wrong in (['train', 'c', '--auto-scale', '--auto-scale-lr'], ['test', 'c', 'k', '--out', 'x.json']):
        with pytest.raises(SystemExit, match='2'):
            parse(monkeypatch, *wrong)
        assert 'not allowed with' in (told := capsys.readouterr().err) or 'does not end in .pkl' in told


def test_wrong_input_to_two_processes(file, work):
    """One process speaks, all end."""
    options = ['--work-dir', work / 'sync', '--cfg-options', 'norm_cfg.type=SyncBN']
    change = ['model.backbone.norm_cfg.type=SyncBN']
    result = run_tool('dist_train.sh', file, 2, *options, *change)
    assert 'SyncBN, which needs GPUs' in sentence(result)


def test_wrong_input_to_test(file, work, one):
    change = ['--cfg-options', 'model.neck.out_channels=32', 'model.bbox_head.in_channels=32']
    result = run_tool('test.py', file, one, '--work-dir', work / 'wrong', *change)
    assert 'does not fit the model' in sentence(result)


def test_a_download_that_fails_is_a_sentence(file, work):
    # A port of this machine that nobody listens at: refused at once, with a network or without.
    change = [
        'model.backbone.init_cfg.type=Pretrained',
        'model.backbone.init_cfg.checkpoint=http://127.0.0.1:9/r18.pth',
    ]
    result = run_tool('train.py', file, '--work-dir', work / 'remote', '--cfg-options', *change)
    assert 'http://127.0.0.1:9/r18.pth could not be downloaded' in sentence(result)


# --- the shell scripts -----------------------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path):
    """A folder with a `python` and an `srun` that only write what they are called with."""
    for name in ('python', 'srun'):
        script = tmp_path / name
        script.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$0" "$@"\necho "port=${MASTER_PORT:-}"\n')
        script.chmod(0o755)
    return tmp_path


def called(fake, script, *arguments, **environment):
    env = {key: value for key, value in os.environ.items() if key not in ('VIRTUAL_ENV', 'CONDA_PREFIX', 'PYTHON')}
    env |= dict(PATH=f'{fake}:{env["PATH"]}') | environment
    command = ['bash', str(ROOT / 'tools' / script), *arguments]
    return subprocess.run(command, env=env, cwd=fake, capture_output=True, text=True, check=True).stdout.splitlines()


def test_dist_train_passes_what_mmdetection_does(fake):
    python = str(fake / 'python')
    out = called(fake, 'dist_train.sh', 'c.py', '8', '--amp', '--work-dir', 'a b', PYTHON=python)
    assert out[0] == python and '--standalone' in out
    assert out[out.index('--nproc_per_node') + 1] == '8'
    assert out[-7:-1] == ['c.py', '--launcher', 'pytorch', '--amp', '--work-dir', 'a b']
    several = dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='29501')
    out = called(fake, 'dist_train.sh', 'c.py', '8', PYTHON=python, **several)
    for flag, value in zip(
        ('--nnodes', '--node_rank', '--master_addr', '--master_port'), several.values(), strict=True
    ):
        assert out[out.index(flag) + 1] == value
    out = called(fake, 'dist_train.sh', 'c.py', '8', PYTHON=python, PORT='29501')
    assert '--standalone' not in out and out[out.index('--master_port') + 1] == '29501'
    out = called(fake, 'dist_test.sh', 'c.py', 'k.pth', '2', '--tta', PYTHON=python)
    assert out[-6:-1] == ['c.py', 'k.pth', '--launcher', 'pytorch', '--tta']


@pytest.mark.long
def test_a_master_whose_name_does_not_resolve(file, tmp_path):
    slurm = dict(SLURM_PROCID='0', SLURM_NTASKS='2', SLURM_LOCALID='0', SLURM_NNODES='2', SLURM_NODELIST='x')
    runs = [
        ('train.py', (file, '--launcher', 'slurm'), slurm),
        ('dist_train.sh', (file, 1), dict(NNODES='2', NODE_RANK='0', PORT='29517')),
        ('dist_train.sh', (file, 1), dict(NNODES='2', NODE_RANK='1', PORT='29518')),
    ]
    for name, arguments, environment in runs:
        begun = time.monotonic()
        result = run_tool(name, *arguments, '--work-dir', tmp_path, MASTER_ADDR='nowhere.invalid', **environment)
        (line,) = [line for line in result.stderr.splitlines() if 'error' in line]
        assert line.startswith("error: the processes are to meet on 'nowhere.invalid'") and result.returncode == 2
        assert time.monotonic() - begun < 60


def test_which_python(fake):
    assert called(fake, 'dist_train.sh', 'c.py', '1', VIRTUAL_ENV='/active')[0] == str(fake / 'python')
    own = ROOT / '.venv' / 'bin' / 'python'
    if own.exists():
        command = ['bash', '-c', f'. {ROOT}/tools/launcher.sh; echo $PYTHON']
        env = {key: value for key, value in os.environ.items() if key not in ('VIRTUAL_ENV', 'CONDA_PREFIX', 'PYTHON')}
        assert subprocess.run(command, env=env, capture_output=True, text=True).stdout.strip() == str(own)


def test_slurm_passes_what_mmdetection_does(fake):
    more = dict(PYTHON='python', GPUS='16', CPUS_PER_TASK='4', SRUN_ARGS='--time 10 --mem=0', PORT='29512')
    out = called(fake, 'slurm_train.sh', 'part', 'job', 'c.py', 'work dir', '--amp', **more)
    assert out[0].endswith('srun') and out[1:3] == ['-p', 'part'] and out[-1] == 'port=29512'
    for flag in ('--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8', '--cpus-per-task=4'):
        assert flag in out
    assert out[out.index('--time') + 1] == '10' and '--kill-on-bad-exit=1' in out
    assert out[-7:-1] == ['c.py', '--work-dir', 'work dir', '--launcher', 'slurm', '--amp']
    out = called(fake, 'slurm_test.sh', 'part', 'job', 'c.py', 'k.pth', PYTHON='python', GPUS='2')
    assert '--gres=gpu:2' in out and out[-5:-1] == ['c.py', 'k.pth', '--launcher', 'slurm']


@pytest.mark.parametrize('gpus', ['0', 'two', '--amp'])
def test_a_number_of_gpus_that_is_none(gpus):
    result = run_tool('dist_train.sh', 'c.py', gpus)
    assert result.returncode == 2 and f"'{gpus}', not a number" in result.stderr
