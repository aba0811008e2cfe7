"""Processes, overrides and errors of the tools, without starting any."""

import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import mmengine.device
import pytest
import torch
import torch.distributed
from conftest import ROOT, write_detector
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from rethink import config_path
from rethink.engine import amp, launch, processes
from rethink.errors import ConfigError, JobError
from web_server import web_server


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(('SLURM', 'OMPI')) or name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'LOCAL_WORLD_SIZE'):
            monkeypatch.delenv(name)


@pytest.fixture
def cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(mmengine.device, 'get_device', lambda: 'cpu')


@pytest.fixture
def file(tmp_path, data):
    return write_detector(tmp_path / 'tiny.py', data)


# --- configs ---------------------------------------------------------------------------------------------------------


def test_overrides_and_work_dir(file):
    cfg = launch.load_config(str(file), {'train_cfg.max_iters': 3, 'classes': ['a', 'b']})
    assert cfg.train_cfg.max_iters == 3 and cfg.work_dir == 'work_dirs/tiny'
    assert launch.load_config(str(file), {'work_dir': 'x'}).work_dir == 'x'
    assert launch.load_config(str(file), {'work_dir': 'x'}, work_dir='y').work_dir == 'y'


def test_nearest_names(file, monkeypatch):
    with pytest.raises(ConfigError, match=r'no config .*tinny\.py; the nearest names are .*tiny\.py'):
        launch.load_config(str(file.with_name('tinny.py')))
    monkeypatch.chdir(ROOT)
    with pytest.raises(ConfigError, match=r'nearest names are configs/rethink/scratch_r50_gn_6x\.py'):
        launch.load_config('configs/rethnk/scratch_r50_gn_6x.py')
    with pytest.raises(ConfigError, match='relative to where you are'):
        launch.load_config('zzzzzzzzzzzz.py')


@pytest.mark.parametrize('in_base', [False, True])
@pytest.mark.parametrize(
    ('line', 'sentence'),
    [
        ('model = dict(type="A"', r'syntax error at .*broken\.py:3: '),
        ('x = undefined + 1', r'fails at .*broken\.py:3 with NameError: name .undefined. is not defined'),
        ('x = {}["a"]', r'fails at .*broken\.py:3 with KeyError'),
    ],
)
def test_errors_in_a_config_name_file_and_line(tmp_path, line, sentence, in_base):
    (tmp_path / 'broken.py').write_text(f'a = 1\nb = 2\n{line}\n')
    (tmp_path / 'derived.py').write_text('_base_ = ["./broken.py"]\n')
    with pytest.raises(ConfigError, match=sentence) as caught:
        launch.load_config(str(tmp_path / ('derived.py' if in_base else 'broken.py')))
    assert '\n' not in str(caught.value)


def test_a_base_that_does_not_exist(tmp_path):
    (tmp_path / 'derived.py').write_text('_base_ = ["./nothing.py"]\n')
    with pytest.raises(ConfigError, match=r'nothing\.py of .*derived\.py does not exist'):
        launch.load_config(str(tmp_path / 'derived.py'))


def test_options_that_do_not_fit(file):
    with pytest.raises(ConfigError, match=r'--cfg-options .*param_scheduler\.7\.end.* does not fit'):
        launch.load_config(str(file), {'param_scheduler.7.end': 1})


def test_a_value_that_nothing_can_be_built_from(file, tmp_path):
    cfg = launch.load_config(str(file), {'model.backbone.depth': 19}, work_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r'cannot be built: .*depth 19.* \(raised at .*resnet\.py:\d+'):
        launch.build_runner(cfg)


def test_auto_scale_lr_is_the_stock_one(file):
    cfg = launch.load_config(str(file))
    launch.use_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr == dict(base_batch_size=4, enable=True)
    assert cfg.train_cfg.max_iters == 8
    cfg.pop('auto_scale_lr')
    with pytest.raises(ConfigError, match='base_batch_size'):
        launch.use_auto_scale_lr(cfg)


def test_resume(file, tmp_path):
    cfg = launch.load_config(str(file), work_dir=str(tmp_path))
    launch.use_resume(cfg, None)
    assert 'resume' not in cfg
    launch.use_resume(cfg, 'auto')
    assert cfg.resume is False and cfg.get('load_from') is None
    with pytest.raises(ConfigError, match=r'the checkpoint some\.pth, to resume from, does not exist; name one'):
        launch.use_resume(cfg, 'some.pth')
    for there in (str(tmp_path), 's3://bucket/some.pth'):  # a folder is one of DeepSpeed
        launch.use_resume(cfg, there)
        assert cfg.resume is True and cfg.load_from == there


def test_a_checkpoint_at_an_address_is_a_file_from_then_on(file, tmp_path, monkeypatch):
    """One of the same name that is from elsewhere, as ``iter_8.pth`` will be, is not taken for it."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cfg = launch.load_config(str(file), work_dir=str(tmp_path / 'work'))
    with web_server() as web:
        one, other = (web.put(f'{name}/iter_8.pth', name.encode()) for name in ('one', 'other'))
        for _ in range(2):
            launch.use_resume(cfg, one)
            assert cfg.resume is True and Path(cfg.load_from).read_bytes() == b'one'
        assert [method for method, *_ in web.asked].count('GET') == 1
        cfg.load_from = one  # of the config
        launch.use_resume(cfg, None)
        assert cfg.load_from == str(tmp_path / 'hub/checkpoints/iter_8.pth')
        with pytest.raises(ConfigError, match=f'of another address, {one}'):
            launch.use_resume(cfg, other)
        with pytest.raises(ConfigError, match='none.pth'):
            launch.use_resume(cfg, f'{web.address}/none.pth')


def test_without_a_checkpoint_to_resume_from_it_begins_with_load_from(file, tmp_path):
    """A fine-tuning that is killed before its first checkpoint must not go on from random weights."""
    classifier = tmp_path / 'classifier.pth'
    classifier.touch()
    for asked, in_config in (('auto', False), (None, True)):
        cfg = launch.load_config(str(file), work_dir=str(tmp_path))
        cfg.load_from, cfg.resume = str(classifier), in_config
        launch.use_resume(cfg, asked)
        assert cfg.load_from == str(classifier) and cfg.resume is (asked is None)
    cfg = launch.load_config(str(file), dict(resume=True), work_dir=str(tmp_path))
    launch.use_resume(cfg, None)
    assert cfg.resume is False, 'resume = True in a config is --resume'


# --- mixed precision -------------------------------------------------------------------------------------------------


def test_amp_on_cpu_computes_in_bfloat16(file, cpu):
    cfg = launch.load_config(str(file), {'optim_wrapper.loss_scale': 'dynamic'})
    launch.use_amp(cfg)
    model = torch.nn.Linear(3, 3)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    with wrapper.optim_context(model):
        out = model(torch.ones(1, 3))
    assert out.dtype == torch.bfloat16
    before = model.weight.clone()
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@pytest.mark.parametrize(('ratio', 'times'), [(0.5, None), (1.05, None), (1.44, '1.4'), (10.0, '10.0')])
def test_a_cpu_on_which_bfloat16_is_slower_is_told(file, cpu, monkeypatch, capsys, ratio, times):
    monkeypatch.setattr(amp, 'bfloat16_ratio', lambda: ratio)
    launch.use_amp(launch.load_config(str(file)))
    said = capsys.readouterr().out
    assert 'convolution' not in said if times is None else f'a convolution takes {times} times as long' in said


def test_what_bfloat16_costs_is_measured_and_draws_nothing(cpu):
    amp.bfloat16_ratio.cache_clear()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    # Six times slower and six times faster than any that is known.
    assert 1 / 60 < amp.bfloat16_ratio() < 60
    assert torch.equal(torch.random.get_rng_state(), before)


def test_amp_on_gpu_is_the_stock_one(file, monkeypatch):
    monkeypatch.setattr(mmengine.device, 'get_device', lambda: 'cuda')
    cfg = launch.load_config(str(file))
    launch.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and cfg.optim_wrapper.loss_scale == 'dynamic'


# --- processes -------------------------------------------------------------------------------------------------------


def torchrun(monkeypatch, rank, world, local, local_world):
    for name, value in dict(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=local, LOCAL_WORLD_SIZE=local_world).items():
        monkeypatch.setenv(name, str(value))


def test_ranks(monkeypatch):
    assert launch.ranks('none') == (0, 1, 0, 1)
    with pytest.raises(ConfigError, match='--launcher pytorch needs the environment variable RANK'):
        launch.ranks('pytorch')
    torchrun(monkeypatch, 9, 16, 1, 8)
    assert launch.ranks('pytorch') == (9, 16, 1, 8)
    for name, value in dict(PROCID=9, NTASKS=16, LOCALID=1, NNODES=2).items():
        monkeypatch.setenv(f'SLURM_{name}', str(value))
    assert launch.ranks('slurm') == (9, 16, 1, 8)
    monkeypatch.delenv('LOCAL_RANK')
    launch.set_local_rank('slurm')
    assert os.environ['LOCAL_RANK'] == '1'


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    torchrun(monkeypatch, 0, 4, 0, 4)
    with pytest.raises(ConfigError, match=r'4 processes were started but 2 GPU\(s\)'):
        launch.start_processes(Config(dict(launcher='pytorch')))
    torchrun(monkeypatch, 3, 4, 1, 2)
    cfg = Config(dict(launcher='pytorch'))
    launch.start_processes(cfg)
    assert cfg.to_dict() == dict(launcher='pytorch')  # the rest is MMEngine's


@pytest.mark.parametrize(
    'change',
    [
        {'model.backbone.norm_cfg': dict(type='SyncBN')},
        {'model.bbox_head.norm_cfg': dict(type='MMSyncBN')},
        {'sync_bn': 'torch'},
    ],
)
def test_syncbn_with_several_processes_on_cpu(file, cpu, monkeypatch, change):
    torchrun(monkeypatch, 0, 2, 0, 2)
    cfg = launch.load_config(str(file), change, launcher='pytorch')
    with pytest.raises(ConfigError, match='SyncBN, which needs GPUs'):
        launch.start_processes(cfg)


@pytest.mark.parametrize('kind', ['SyncBN', 'MMSyncBN'])
def test_syncbn_in_one_process_on_cpu_is_bn(file, cpu, monkeypatch, tmp_path, kind, capsys):
    torchrun(monkeypatch, 0, 1, 0, 1)
    change = {'model.backbone.norm_cfg.type': kind, 'model.bbox_head.norm_cfg.type': kind}
    # MMEngine names a Runner, and with it the logger and its file, by the second; the test before may have this one.
    change['experiment_name'] = f'reverted_{kind}'
    cfg = launch.load_config(str(file), change, work_dir=str(tmp_path), launcher='pytorch')
    launch.start_processes(cfg)
    runner = launch.build_runner(cfg)
    norms = [m for m in runner.model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and not any('Sync' in type(norm).__name__ for norm in norms)
    runner.model.train()
    assert torch.isfinite(runner.model.backbone(torch.rand(2, 3, 64, 64))[0]).all()
    told = next(tmp_path.glob('*/*.log')).read_text() if kind == 'SyncBN' else capsys.readouterr().out
    assert ('reverted to BatchNorm' if kind == 'SyncBN' else 'MMSyncBN in model.backbone') in ' '.join(told.split())


def test_one_of_several_processes_closes_its_group_and_ends_in_order(tmp_path):
    """Without what Python does last: threads of the group that is still in use would end it with SIGABRT."""
    script = f"""
import atexit, torch.distributed
from rethink.engine import launch
torch.distributed.init_process_group('gloo', init_method='file://{tmp_path}/store', rank=0, world_size=1)
atexit.register(lambda: print('at exit', torch.distributed.is_initialized()))
with launch.one_sentence():
    print('trained', torch.distributed.is_initialized())
print('Python goes on')
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()) == (0, ['trained True', 'at exit False']), done.stderr


def test_a_process_of_its_own_goes_on():
    with launch.one_sentence():
        pass


def test_several_trainings_end_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(os, '_exit', sys.exit)
    with pytest.raises(SystemExit) as stopped, launch.several_trainings() as context:
        context.cfg = {}
        raise JobError('b failed.')
    assert stopped.value.code == 'error: b failed.'
    with pytest.raises(SystemExit) as stopped, launch.several_trainings() as context:
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr().err == '\nstopped; the same command goes on from the last checkpoints.\n'


def test_a_group_on_cpu(file, cpu, monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    calls = []
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda *a, **k: calls.append((a, k)))
    monkeypatch.setattr(torch, 'set_num_threads', lambda number: calls.append(number))
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)))
    monkeypatch.setenv('RETHINK_SHARE_CORES', '1')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('MASTER_PORT', str(port))
    torchrun(monkeypatch, 1, 2, 1, 2)
    cfg = launch.load_config(str(file), {'find_unused_parameters': True}, launcher='pytorch')
    launch.start_processes(cfg)
    assert calls == [4, (('gloo',), dict(rank=1, world_size=2))]
    assert cfg.model_wrapper_cfg == dict(
        type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True, device_ids=None
    )
    # Whoever sets the threads keeps them.
    calls.clear()
    monkeypatch.delenv('RETHINK_SHARE_CORES')
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    launch.start_processes(cfg)
    assert len(calls) == 1 and os.environ['OMP_NUM_THREADS'] == '3'
    # The group's limit is the config's.
    cfg.env_cfg.dist_cfg = dict(backend='nccl', timeout=60)
    launch.start_processes(cfg)
    assert calls[-1][1]['timeout'] == timedelta(seconds=60)
    assert cfg.env_cfg.dist_cfg == dict(backend='gloo', timeout=60)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm', 'mpi'])
@pytest.mark.parametrize('gpus', [0, 8])
def test_a_master_without_an_address_is_one_sentence(file, monkeypatch, launcher, gpus):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    monkeypatch.setattr(mmengine.device, 'get_device', lambda: 'cuda' if gpus else 'cpu')
    monkeypatch.setattr(processes, '_RESOLVES', 0.1)
    monkeypatch.setattr(torch.distributed, 'init_process_group', lambda *a, **k: pytest.fail('it would wait'))
    for name, value in zip(processes._RANK_VARIABLES[launcher], (1, 16, 1, 8), strict=True):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv('MASTER_ADDR', 'nowhere.invalid')
    cfg = launch.load_config(str(file), launcher=launcher)
    with pytest.raises(
        ConfigError, match=r"meet on 'nowhere\.invalid', a name that does not resolve on .*MASTER_ADDR"
    ):
        launch.start_processes(cfg)
    monkeypatch.setattr(socket, 'getaddrinfo', lambda *a: time.sleep(10))
    monkeypatch.setattr(processes, '_RESOLVES', -4.9)
    with pytest.raises(ConfigError, match=r'\(the name server does not answer\)'):
        launch.start_processes(cfg)


def test_processes_on_several_machines_are_told_where_to_meet(file, cpu, monkeypatch):
    for name, value in zip(processes._RANK_VARIABLES['mpi'], (1, 16, 1, 8), strict=True):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv('MASTER_ADDR', raising=False)
    with pytest.raises(ConfigError, match='16 processes .* several machines and MASTER_ADDR does not say'):
        launch.start_processes(launch.load_config(str(file), launcher='mpi'))


def test_a_config_of_an_installed_package_by_its_name():
    """For our tools, with MMEngine's names; the work directory is named after the config."""
    cfg = launch.load_config('mmdet::scratch/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco')
    assert cfg.model.type == 'MaskRCNN' and cfg.work_dir == 'work_dirs/mask-rcnn_r50-scratch_fpn_gn-all_6x_coco'
    own = launch.load_config('rethink::rethink/scratch_r50_gn_6x.py')
    assert own.max_iters == 540_000 and own.filename == str(ROOT / 'configs/rethink/scratch_r50_gn_6x.py')
    for name, message in {
        'rethink::rethink/scratch_r50_gn_7x.py': "rethink has no config 'rethink/scratch_r50_gn_7x.py'",
        'mmdet::scratch/none.py': r'there is no config \S+scratch/none.py',
        'nowhere::a.py': "names the package 'nowhere', which is not installed; install it or name a file",
    }.items():
        with pytest.raises(ConfigError, match=message):
            launch.load_config(name)


def test_what_cannot_be_built_without_a_config_keeps_its_traceback():
    with pytest.raises(KeyError, match='Nowhere'), launch.one_sentence():
        MODELS.build(dict(type='Nowhere'))


def test_a_base_that_an_environment_variable_names_and_that_is_not_there(monkeypatch):
    monkeypatch.setenv('HPT_DATASET', 'nothing')
    sentence = r'hpt_nothing.py of .* variable HPT_DATASET=nothing names; there are .*hpt_resisc45'
    with pytest.raises(ConfigError, match=sentence):
        launch.read_config(config_path('hpt/pretrain_moco_r50_5ki.py'))


def test_a_base_that_is_not_there(tmp_path):
    (tmp_path / 'runtime.py').write_text('a = 1')
    (tmp_path / 'one.py').write_text("_base_ = ['runtme.py']")
    with pytest.raises(ConfigError, match=r'the base .*runtme.py of .*one.py does not exist; .*runtime.py'):
        launch.read_config(str(tmp_path / 'one.py'))


def test_views_that_are_much_larger_than_the_test_images_are_said(data, tmp_path, capsys):
    resize = dict(type='TestTimeAug', transforms=[[dict(type='Resize', scale=(2000, one)) for one in (400, 1200)]])
    for scale, said in ((64, True), (400, False), (300, False), (None, True)):
        cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
        pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.test_dataloader.dataset.pipeline = [one for one in pipeline if one.type != 'Resize']
        if scale:
            cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=(scale, scale)))
        cfg.tta_model, cfg.tta_pipeline = dict(type='DetTTAModel'), [dict(type='LoadImageFromFile'), resize]
        launch.use_tta(cfg)
        assert ('of each image to 400 to 1200 pixels' in capsys.readouterr().out) == said
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data))
    launch.use_tta(cfg)  # flips alone
    assert 'warning' not in capsys.readouterr().out
