"""Chains: what is trained after what, from which config, and that a kill in any step changes nothing."""

import copy
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, run_tool
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.runner import Runner
from mmpretrain.models import ResNet
from PIL import Image
from rethink.errors import ConfigError
from rethink.files import exclusively
from rethink.studies.chains.base import reestimate_base
from rethink.studies.chains.defaults import LENGTHS
from rethink.studies.chains.folder import Chains
from rethink.studies.chains.images import images_of
from rethink.studies.chains.lengths import same_until, set_length
from rethink.studies.chains.names import check_name, data_of, kind_of, steps_of
from rethink.studies.chains.steps import Step
from torch import nn

HPT = ROOT / 'configs' / 'hpt'
SIZE = 32

# KILL_AT names where this process and the one that started it are killed.
KILLED = """
import os, signal
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rethink.studies.backends.local import Local

def kill(point, *pids):
    if os.environ.get('KILL_AT') == point:
        for pid in (*pids, os.getpid()):
            os.kill(pid, signal.SIGKILL)

@HOOKS.register_module(force=True)
class Killed(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, *args, **kwargs):
        kill(f'training {Path(runner.work_dir).name} {runner.iter + 1}', os.getppid())

def replace(source, target, replace=os.replace):
    # The new file is written, and does not have its name yet.
    kill(f'writing {Path(target).parent.name}/{Path(target).name}', os.getppid())
    replace(source, target)

def start(backend, job, *args, start=Local._start):
    kill(f'before {job.work_dir.name}')
    return start(backend, job, *args)

os.replace, Local._start = replace, start
"""

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['rethink', 'killed_at'])
model = dict(
    type='MoCo', queue_len=24, feat_dim=8, momentum=0.1,
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True),
    backbone=dict(
        type='ResNet', depth=18, base_channels=4, stem_channels=4, norm_cfg=dict(type='BN'), zero_init_residual=False),
    neck=dict(type='MoCoV2Neck', in_channels=32, hid_channels=16, out_channels=8),
    head=dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2))
view = [
    dict(type='RandomResizedCrop', scale=32, crop_ratio_range=(0.5, 1.0)), dict(type='RandomFlip', prob=0.5),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4)]
train_dataloader = dict(
    batch_size=4, num_workers=0, drop_last=True, sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='{data}/target', with_label=False,
        pipeline=[
            dict(type='LoadImageFromFile'), dict(type='MultiView', num_views=2, transforms=[view]),
            dict(type='PackInputs')]))
train_cfg = dict(type='ResumableTrainLoop', max_iters=4)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=4, eta_min=0.0)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=1))
custom_hooks = [dict(type='Killed')]
log_processor = dict(window_size=1, by_epoch=False)
"""

SOURCE = """
unlabelled_set = dict(type='CustomDataset', data_root='{data}/source', with_label=False)
mean, std = [100.0, 110.0, 120.0], [50.0, 55.0, 60.0]
"""


def write_images(folder: Path, images: int = 12, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for index in range(images):
        low = random.integers(0, 200, 3)
        picture = random.integers(low, low + 50, (SIZE, SIZE, 3)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f'{index:02d}.png')


def write_base(path: Path, seed: int = 0, depth: int = 18) -> Path:
    """A backbone as MMDetection's and MMPretrain's checkpoints have it; the file."""
    torch.manual_seed(seed)
    model = ResNet(depth, base_channels=4, stem_channels=4, zero_init_residual=False)
    model.init_weights()
    torch.save(dict(state_dict={f'backbone.{key}': value for key, value in model.state_dict().items()}), path)
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where config, base, source and images are."""
    folder = tmp_path_factory.mktemp('chains')
    write_images(folder / 'target')
    write_images(folder / 'source', 16, seed=1)
    (folder / 'tiny.py').write_text(CONFIG.format(data=folder))
    (folder / 'source.py').write_text(SOURCE.format(data=folder))
    (folder / 'killed_at.py').write_text(KILLED)
    write_base(folder / 'base.pth')
    return folder


def config(folder: Path, **more) -> Config:
    """That of the tests, to be trained in this process."""
    cfg = Config.fromfile(folder / 'tiny.py', import_custom_modules=False)
    cfg.custom_imports = dict(imports=['rethink'])
    cfg.custom_hooks = []
    cfg.merge_from_dict(more)
    return cfg


def opened(folder: Path, out: Path, cfg: Config | None = None, **more) -> Chains:
    values = dict(base=str(folder / 'base.pth'), source=str(folder / 'source.py')) | more
    return Chains(out, cfg or config(folder), **values)


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key


# --- names, plan -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('chain', 'steps', 'kind', 'data'),
    [
        ('B', ['B'], 'statistics', 'target'),
        ('T', ['T'], 'scratch', 'target'),
        ('B+T', ['B+T'], 'base', 'target'),
        ('B+S', ['B+S'], 'base', 'source'),
        ('B+S-BN', ['B+S-BN'], 'bn', 'source'),
        ('B+S+T', ['B+S', 'B+S+T'], 'base', 'target'),
        ('B+T-BN', ['B+T-BN'], 'bn', 'target'),
        ('B+S+T-BN', ['B+S', 'B+S+T-BN'], 'bn', 'target'),
        ('B+S-BN+T-BN', ['B+S-BN', 'B+S-BN+T-BN'], 'bn', 'target'),
    ],
)
def test_names(chain, steps, kind, data):
    check_name(chain)
    assert steps_of(chain) == steps and kind_of(chain) == kind and data_of(chain) == data


@pytest.mark.parametrize('chain', ['', 'S', 'T-BN', 'B-BN', 'B+T+S', 'B+T+T', 'T+B', 'b+t', 'B+', 'B+T-bn', 'B T'])
def test_what_is_no_chain(chain):
    with pytest.raises(ConfigError, match='is no chain'):
        check_name(chain)


def test_each_step_once_and_after_what_it_needs(folder, tmp_path):
    lengths = dict(base=[3, 2], scratch=[4], bn=[2, 5])
    plan = opened(folder, tmp_path / 'out').plan(['B+S+T-BN', 'B', 'T', 'B+S', 'B+S+T', 'B+T'], lengths, seeds=[0, 7])
    names = [step.name for step in plan]
    wanted = {
        'B',
        'T_4',
        'B+T_2',
        'B+T_3',
        'B+S_2',
        'B+S_3',
        'B+S_5',
        'B+S+T_2',
        'B+S+T_3',
        'B+S+T-BN_2',
        'B+S+T-BN_5',
    }
    assert len(names) == len(set(names)) and set(names) == {f'seed{s}/{one}' for s in (0, 7) for one in wanted}
    by_name = dict(zip(names, plan, strict=True))
    for step in plan:
        assert step.after is None or plan.index(step.after) < plan.index(step)
        if step.chain.startswith('B+S+T'):
            source = by_name[f'seed{step.seed}/B+S_{step.lengths[0]}']
            assert step.after is source and step.base == source.work_dir / 'backbone.pth'
        else:
            assert step.after is None and step.base == (None if step.chain == 'T' else folder / 'base.pth')


def test_a_source_may_have_its_own_length(folder, tmp_path):
    """RESISC-45 → UC-Merced of the release: 50k on the source, then each length on the target."""
    of = opened(folder, tmp_path / 'out')
    lengths = dict(base=[2, 5], bn=[4])
    plan = of.plan(['B+T', 'B+S', 'B+S+T', 'B+S+T-BN'], lengths, source_lengths=[5, 9])
    by_name = {step.name.removeprefix('seed0/'): step for step in plan}
    assert set(by_name) == {
        *('B+T_2', 'B+T_5', 'B+S_2', 'B+S_5', 'B+S_9'),
        *('B+S+T_5+2', 'B+S+T_5', 'B+S+T_9+2', 'B+S+T_9+5', 'B+S+T-BN_5+4', 'B+S+T-BN_9+4'),
    }
    for name, source in (('B+S+T_5+2', 5), ('B+S+T_9+2', 9), ('B+S+T_9+5', 9), ('B+S+T-BN_9+4', 9)):
        assert by_name[name].after is by_name[f'B+S_{source}']
        assert by_name[name].base == by_name[f'B+S_{source}'].work_dir / 'backbone.pth'
    assert of.config(by_name['B+S+T_9+2']).train_cfg.max_iters == 2
    assert of.config(by_name['B+S_9']).train_cfg.max_iters == 9
    # Trained from the one file of its source, and known again when the folder is opened.
    of.save(plan)
    for name in ('B+S_5', 'B+S+T_5+2'):
        train(of, by_name[name])
    again = opened(folder, tmp_path / 'out').plan(['B+S+T'], dict(base=[2]), source_lengths=[5])
    assert [(step.name, step.finished) for step in again] == [('seed0/B+S_5', True), ('seed0/B+S+T_5+2', True)]
    # Where one training leaves several lengths of the source, each chain begins with its own.
    steps = opened(folder, tmp_path / 'constant', config(folder, param_scheduler=[])).plan(
        ['B+S+T'], dict(base=[2]), source_lengths=[5, 9]
    )
    bases = {step.work_dir.name: step.base and step.base.name for step in steps}
    assert bases == {'B+S_5-9': 'base.pth', 'B+S+T_5+2': 'backbone_5.pth', 'B+S+T_9+2': 'backbone.pth'}
    with pytest.raises(ConfigError, match=r'--source-iters is of a chain that goes on from its source, and B\+S, T'):
        of.plan(['B+S', 'T'], lengths, source_lengths=[5])


def test_the_lengths_are_those_of_the_paper():
    assert LENGTHS['base'] == (50, 500, 5_000, 50_000)
    assert LENGTHS['scratch'] == (5_000, 50_000, 100_000, 200_000)
    assert LENGTHS['bn'] == (5_000,)


# --- schedules -------------------------------------------------------------------------------------------------------

SCHEDULES = {
    'constant': ([], True),
    'warm-up': ([dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3)], True),
    'drops': ([dict(type='MultiStepLR', by_epoch=False, begin=0, end=12, milestones=[4, 9], gamma=0.1)], True),
    'steps': ([dict(type='StepLR', by_epoch=False, begin=0, end=12, step_size=3, gamma=0.5)], True),
    'exponential': ([dict(type='ExponentialLR', by_epoch=False, begin=0, end=12, gamma=0.9)], True),
    'cosine': ([dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=12, eta_min=0.0)], False),
    'cosine, T_max': ([dict(type='CosineAnnealingLR', by_epoch=False, T_max=12)], False),
    'linear to 0': ([dict(type='LinearLR', start_factor=1.0, end_factor=0.0, by_epoch=False, end=12)], False),
    'poly': ([dict(type='PolyLR', power=0.9, by_epoch=False, begin=0, end=12)], False),
    'warm-up, cosine': (
        [
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
            dict(type='CosineAnnealingLR', by_epoch=False, begin=2, end=12),
        ],
        False,
    ),
}


def rates(cfg: Config, length: int) -> list[float]:
    """The learning rate of each iteration, by MMEngine's own schedulers."""
    cfg = copy.deepcopy(cfg)
    set_length(cfg, length)
    assert cfg.train_cfg.max_iters == length
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(one, default_args=dict(optimizer=optimizer)) for one in cfg.param_scheduler]
    found = []
    for _ in range(length):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return found


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_schedule_gives_several_lengths_if_its_rates_are_the_same(folder, name):
    schedule, permits = SCHEDULES[name]
    cfg = config(folder, train_cfg=dict(max_iters=12))
    cfg.param_scheduler = schedule
    lengths = [5, 8, 20]
    longest = rates(cfg, 20)
    assert all(rates(cfg, length) == longest[:length] for length in lengths) == permits
    assert same_until(cfg, lengths) == permits
    assert same_until(cfg, [20])


def test_a_cosine_ends_with_the_training(folder):
    cfg = config(folder)
    for length in (3, 40):
        assert rates(cfg, length) == pytest.approx([0.025 * (1 + np.cos(np.pi * at / length)) for at in range(length)])


def test_one_training_gives_what_two_give(folder, tmp_path):
    """With a constant learning rate, bit for bit; the chain then has one training for all that begin alike."""
    cfg = config(folder, param_scheduler=[])
    together = opened(folder, tmp_path / 'together', cfg)
    lengths = dict(base=[2, 3])
    (long,) = together.plan(['B+T'], lengths)
    assert long.lengths == (2, 3) and long.name == 'seed0/B+T_2-3'
    assert [step.lengths for step in together.plan(['B+S+T'], lengths)] == [(2, 3), (2,), (3,)]
    train(together, long)
    assert long.finished
    assert not torch.equal(*(state(path)['neck.mlp.0.weight'] for path in long.exports.values()))
    # What is there is taken as it is, also where other lengths are asked for.
    together.save([long])
    again = opened(folder, tmp_path / 'together', cfg)
    assert [step.name for step in again.plan(['B+T'], dict(base=[2, 5]))] == ['seed0/B+T_2-3', 'seed0/B+T_5']
    assert [step.name for step in again.plan(['B+T'], dict(base=[3]), seeds=[1])] == ['seed1/B+T_3']
    long.exports[3].unlink()
    assert [step.name for step in again.plan(['B+T'], dict(base=[2, 3]))] == ['seed0/B+T_2-3']
    assert [step.name for step in again.plan(['B+T'], dict(base=[2, 5]))] == ['seed0/B+T_2-5']
    alone = opened(folder, tmp_path / 'alone', cfg)
    (short,) = alone.plan(['B+T'], dict(base=[2]))
    train(alone, short)
    assert_equal(state(long.exports[2]), state(short.exports[2]))
    assert long.exports[2].name == 'backbone_2.pth' and short.exports[2].name == 'backbone.pth'


def train(of: Chains, step: Step) -> Runner:
    cfg = of.config(step)
    cfg.work_dir, cfg.launcher = str(step.work_dir), 'none'
    cfg.experiment_name = step.name.replace('/', '_') + str(of.folder.name)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


# --- what a step trains ----------------------------------------------------------------------------------------------


def trained(cfg: Config) -> dict:
    """What of a config decides the weights that come out."""
    keys = ('model', 'train_dataloader', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'custom_hooks')
    plain = {key: cfg.to_dict()[key] for key in keys}
    plain['custom_hooks'] = sorted(plain['custom_hooks'], key=str)
    for hook in plain['custom_hooks']:
        if not hook.get('at', True):
            del hook['at']  # no iterations beside the last
    return plain


def test_steps_of_the_study_are_its_configs(tmp_path, monkeypatch):
    monkeypatch.setenv('HPT_DATASET', 'ucmerced')
    monkeypatch.setenv('HPT_BASE', 'base.pth')
    cfg = Config.fromfile(HPT / 'pretrain_moco_r50_5ki.py')
    of = Chains(tmp_path / 'out', cfg, base='base.pth', source='resisc45', target='ucmerced')
    steps = {(step.chain, step.lengths[0]): step for step in of.plan(['T', 'B+T', 'B+T-BN', 'B+S+T'], LENGTHS)}
    for step, name in (
        (('T', 200_000), 'scratch_moco_r50_200ki'),
        (('B+T', 5_000), 'pretrain_moco_r50_5ki'),
        (('B+T-BN', 5_000), 'pretrain_moco_r50_bnonly_5ki'),
    ):
        assert trained(of.config(steps[step])) == trained(Config.fromfile(HPT / f'{name}.py')), name
    source, target = of.config(steps['B+S', 500]), of.config(steps['B+S+T', 500])
    monkeypatch.setenv('HPT_DATASET', 'resisc45')
    monkeypatch.setenv('HPT_BASE', str(tmp_path / 'out' / 'seed0' / 'B+S_500' / 'backbone.pth'))
    resisc = Config.fromfile(HPT / 'pretrain_moco_r50_5ki.py')
    assert source.model == resisc.model != target.model == cfg.model
    assert source.train_dataloader == resisc.train_dataloader != target.train_dataloader == cfg.train_dataloader
    assert resisc.custom_hooks[0] in target.custom_hooks
    assert source.param_scheduler[0].end == source.train_cfg.max_iters == 500


def test_without_arguments_base_and_target_are_those_of_the_config(folder, tmp_path):
    begin = dict(type='InitFromBaseHook', checkpoint='there.pth', projector=False)
    of = Chains(tmp_path / 'out', config(folder, custom_hooks=[begin]))
    (step,) = of.plan(['B+T'], dict(base=[3]))
    cfg = of.config(step)
    assert begin in cfg.custom_hooks and cfg.train_dataloader == config(folder).train_dataloader
    assert cfg.randomness.seed == 0


def test_b_keeps_the_weights_and_takes_the_statistics_of_the_target(folder, tmp_path):
    of = opened(folder, tmp_path / 'out', config(folder))
    (step,) = of.plan(['B'], LENGTHS)
    cfg = of.config(step)
    # Views that are the images, so that the statistics are known.
    cfg.train_dataloader.dataset.pipeline[1].transforms = [[dict(type='Resize', scale=SIZE)]]
    cfg.work_dir, cfg.launcher, cfg.experiment_name = str(tmp_path), 'none', 'b_keeps_the_weights'
    assert reestimate_base(cfg, folder / 'base.pth', step.exports[0], 1000) == 12
    assert step.finished
    base, found = state(folder / 'base.pth'), state(step.exports[0])
    assert base.keys() == found.keys()
    changed = {key for key, value in base.items() if not torch.equal(value, found[key])}
    assert changed == {key for key in base if 'running' in key}
    images = [np.asarray(Image.open(file)) for file in sorted((folder / 'target').glob('*.png'))]
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2).double()
    inputs = nn.functional.conv2d((pixels - 127) / 64, base['backbone.conv1.weight'].double(), stride=2, padding=3)
    for name, value in (('mean', inputs.mean((0, 2, 3))), ('var', inputs.var((0, 2, 3), correction=0))):
        torch.testing.assert_close(found[f'backbone.bn1.running_{name}'].double(), value, rtol=1e-4, atol=1e-5)


def test_bn_alone_moves_nothing_else_of_the_backbone(folder, tmp_path):
    of = opened(folder, tmp_path / 'out')
    (step,) = of.plan(['B+T-BN'], dict(bn=[2]))
    train(of, step)
    base, found = state(folder / 'base.pth'), state(step.exports[2])
    bn = {key.rsplit('.', 1)[0] for key in base if key.endswith('running_mean')}
    changed = {key for key, value in base.items() if not torch.equal(value, found[key])}
    assert {key.rsplit('.', 1)[0] for key in changed} == bn
    assert {'backbone.bn1.weight', 'backbone.bn1.bias', 'backbone.bn1.running_var'} <= changed


# --- wrong input, before anything starts -----------------------------------------------------------------------------


def test_wrong_input_is_one_sentence(folder, tmp_path, run_in_process, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    base, config = folder / 'base.pth', folder / 'tiny.py'
    (tmp_path / 'empty' / 'images').mkdir(parents=True)
    for name, dataset in (
        ('empty', f"data_root='{tmp_path}/empty', data_prefix='images'"),
        ('gone', f"data_root='{tmp_path}/gone', data_prefix='images'"),
        ('splits', f"data_root='{folder}/target', ann_file='splits/unlabelled.txt'"),
        ('few', f"data_root='{folder}/few'"),
    ):
        text = f"unlabelled_set = dict(type='mmpretrain.CustomDataset', {dataset}, with_label=False)"
        (tmp_path / f'{name}.py').write_text(text)
    write_images(folder / 'few', 3)
    deep = write_base(tmp_path / 'deep.pth', depth=34)
    out = tmp_path / 'out'

    def says(*arguments) -> str:
        code, printed = run_in_process('hpt_chain.py', config, *arguments, '--out-dir', out)
        assert code == 2 and not out.exists(), printed
        (line,) = [line for line in printed.splitlines() if line.startswith('error: ')]
        return line

    based = ('--base', base, '--iters', 3)
    assert "'B+X' is no chain" in says('B+X', *based)
    assert 'B+S goes through a source; name its data with --source' in says('B+S', *based)
    assert 'B+T begins with a base; name its checkpoint with --base' in says('B+T')
    assert 'nowhere.pth (base) does not exist' in says('B+T', '--base', tmp_path / 'nowhere.pth')
    assert 'deep.pth (base, written by MMPretrain or MMDetection) does not fit the model' in says('B', '--base', deep)
    assert "there is no data set 'resisc'; name a config (….py) or one of bdd_weather, " in says(
        'B+S', *based, '--source', 'resisc'
    )
    assert 'splits/unlabelled.txt of' in says('B+S', *based, '--source', tmp_path / 'splits.py')
    assert 'gone/images' in says('B+S', *based, '--source', tmp_path / 'gone.py')
    line = says('B+S', *based, '--source', tmp_path / 'empty.py')
    assert f'the source {tmp_path}/empty.py cannot be read: ' in line and 'empty/images' in line
    assert 'has 3 images, fewer than the 4 of a batch' in says('B+T', *based, '--target', tmp_path / 'few.py')
    assert 'model.queue_len is 25, not a multiple of the 12 images' in says(
        'T', '--gpus', 3, '--cfg-options', 'model.queue_len=25'
    )
    assert '--bn-images is 0' in says('B', *based, '--bn-images', 0)


def test_a_schedule_that_begins_later_than_the_training_ends(folder):
    cfg = config(folder)
    cfg.param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=2, end=4)]
    with pytest.raises(ConfigError, match=r'param_scheduler\.0 of .* begins at 2, so that 2 iterations are too few'):
        set_length(cfg, 2)
    del cfg.train_cfg['max_iters']
    with pytest.raises(ConfigError, match='no train_cfg.max_iters'):
        set_length(cfg, 2)


def test_a_folder_keeps_to_its_base_config_and_data(folder, tmp_path):
    lengths = dict(base=[3], scratch=[3])

    def save(what=('B+T',), cfg=None, **more):
        of = opened(folder, tmp_path / 'out', cfg, **more)
        of.save(of.plan(what, lengths))
        return of

    save(['T'], source=None)
    save()  # a base and a source, which were not needed before
    moved = tmp_path / 'moved.pth'
    moved.write_bytes((folder / 'base.pth').read_bytes())
    save(base=str(moved))
    save(['T'], base=None)
    other = write_base(tmp_path / 'other.pth', seed=1)
    with pytest.raises(
        ConfigError, match=r'begin with another base than .*other\.pth; name another folder with --out'
    ):
        save(base=str(other))
    # Where the base is not needed, it does not matter.
    save(['T'], base=str(other))
    lr = config(folder, optim_wrapper=dict(optimizer=dict(lr=0.1)))
    with pytest.raises(ConfigError, match=r'differ in config\.optim_wrapper\.optimizer\.lr'):
        save(cfg=lr)
    with pytest.raises(ConfigError, match=r'differ in source\.dataset\.data_root'):
        save(source=str(folder / 'tiny.py'))
    with pytest.raises(ConfigError, match='differ in processes'):
        save(processes=2)
    logged = config(folder, default_hooks=dict(logger=dict(interval=7)))
    of = save(['T', 'B+T'], logged)
    record = json.loads((of.folder / 'chains.json').read_text())
    assert [row['step'] for row in record['steps']] == ['seed0/T_3', 'seed0/B+T_3']
    (tmp_path / 'else').mkdir()
    (tmp_path / 'else' / 'file').touch()
    with pytest.raises(ConfigError, match='is not empty and holds no chains'):
        opened(folder, tmp_path / 'else')


def test_a_damaged_export_is_not_finished(folder, tmp_path):
    of = opened(folder, tmp_path / 'out')
    (step,) = of.plan(['B+T'], dict(base=[3]))
    (path,) = step.exports.values()
    path.parent.mkdir(parents=True)
    assert not step.finished
    content = dict(meta=dict(iterations=3), state_dict={'backbone.conv1.weight': torch.zeros(100_000)})
    torch.save(content, path)
    assert step.finished
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert not step.finished
    torch.save(dict(content, meta=dict(iterations=2)), path)
    assert not step.finished


def test_images_of_a_training(folder):
    own = images_of(str(folder / 'tiny.py'))
    assert own.dataset == dict(type='CustomDataset', data_root=f'{folder}/target', with_label=False)
    assert own.mean == [127.0] * 3
    assert images_of('ucmerced').mean == pytest.approx([255 * 0.4842, 255 * 0.4901, 255 * 0.4505])


# --- kills -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def tool(folder):
    """Runs tools/hpt_chain.py in processes of its own: exit code, and what it printed."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get('PYTHONPATH')])])

    def run(*arguments, kill_at=''):
        done = run_tool('hpt_chain.py', *arguments, PYTHONPATH=path, OMP_NUM_THREADS='1', KILL_AT=kill_at)
        return done.returncode, done.stdout + done.stderr

    return run


def wait_for(out: Path) -> None:
    """Until the processes that were killed are gone."""
    for _ in range(500):
        try:
            with exclusively(out):
                return
        except ConfigError:
            time.sleep(0.02)
    raise AssertionError(f'{out} stays in use')


def files(out: Path) -> dict[str, int]:
    """Exports, and when they were written."""
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob('backbone*.pth')}


KILLS = (
    'writing B/backbone.pth',
    'training B+S_4 3',
    'writing B+S_4/backbone.pth',
    'before B+S+T_4',
    'training B+S+T_4 3',
    'writing B+S+T_4/backbone.pth',
)


def killed_and_finished(tool, command: list, out: Path, kills: tuple[str, ...]) -> None:
    """Run a chain, killed at each of these moments, and once more to its end; no finished step is run again."""
    there = {}
    for kill_at in kills:
        code, printed = tool(*command, '--out-dir', out, kill_at=kill_at)
        assert code == -9, f'{kill_at}: {printed}'
        wait_for(out)
        now = files(out)
        assert there.items() <= now.items(), f'{kill_at}: a finished step was run again'
        there = now
    code, printed = tool(*command, '--out-dir', out)
    assert code == 0, printed


@pytest.mark.parametrize('chain', ['T', 'B+T-BN'])
def test_killed_amid_a_step_without_a_base_and_one_of_bn_alone(folder, tool, tmp_path, chain):
    command = [
        folder / 'tiny.py',
        chain,
        '--iters',
        4,
        '--scratch-iters',
        4,
        '--bn-iters',
        4,
        '--base',
        folder / 'base.pth',
    ]
    code, printed = tool(*command, '--out-dir', tmp_path / 'whole')
    assert code == 0, printed
    (name,) = files(tmp_path / 'whole')
    assert name == f'seed0/{chain}_4/backbone.pth'
    kills = (f'training {chain}_4 3', f'writing {chain}_4/backbone.pth')
    killed_and_finished(tool, command, tmp_path / 'killed', kills)
    assert_equal(state(tmp_path / 'whole' / name), state(tmp_path / 'killed' / name))


def test_killed_in_every_step_it_ends_as_if_it_had_not_been(folder, tool, tmp_path):
    command = [folder / 'tiny.py', 'B', 'B+S', 'B+S+T', '--iters', 4]
    command += ['--base', folder / 'base.pth', '--source', folder / 'source.py']
    code, printed = tool(*command, '--out-dir', tmp_path / 'whole')
    assert code == 0, printed
    whole = files(tmp_path / 'whole')
    assert whole.keys() == {f'seed0/{step}/backbone.pth' for step in ('B', 'B+S_4', 'B+S+T_4')}

    out = tmp_path / 'killed'
    killed_and_finished(tool, command, out, KILLS)
    for name in whole:
        assert_equal(state(tmp_path / 'whole' / name), state(out / name))
    assert 'Continuing with batch 3' in (out / 'seed0' / 'B+S_4' / 'output.txt').read_text()

    there, outputs = files(out), {path: path.stat().st_size for path in out.rglob('output.txt')}
    code, printed = tool(*command, '--out-dir', out)
    assert code == 0 and '3 steps, 3 of them finished, 0 iterations to come' in printed
    assert files(out) == there and all(path.stat().st_size == size for path, size in outputs.items())
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in printed.splitlines() if line.startswith('|')]
    assert [row[0] for row in rows[2:]] == ['B', 'B+S', 'B+S+T'] and all(row[-1] == 'finished' for row in rows[2:])
    assert rows[4][3:6] == ['seed0/B+S_4/backbone.pth', '4', 'seed0/B+S+T_4/backbone.pth']
    assert all(line in (out / 'table.md').read_text() for line in printed.splitlines() if line.startswith('|'))
