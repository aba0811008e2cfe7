"""Policies of augmentation and shares of the images: what is left of a pipeline, and which images are trained on."""

import json
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import run_tool
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, TRANSFORMS
from mmpretrain.utils import register_all_modules
from PIL import Image
from rethink import config_path
from rethink.errors import ConfigError
from rethink.studies import grid
from rethink.studies.axes import Point
from rethink.studies.axes import points as points_of
from rethink.studies.robustness import POLICIES

MOCO = 'hpt/pretrain_moco_r50_5ki.py'
LEFT = {
    'full': ['FastRandomResizedCrop', 'FastColorJitter', 'RandomGrayscale', 'GaussianBlur', 'RandomFlip'],
    'no_jitter': ['FastRandomResizedCrop', 'RandomGrayscale', 'GaussianBlur', 'RandomFlip'],
    'no_grey': ['FastRandomResizedCrop', 'FastColorJitter', 'GaussianBlur', 'RandomFlip'],
    'crop_blur': ['FastRandomResizedCrop', 'GaussianBlur'],
    'crop': ['FastRandomResizedCrop'],
    'crop_flip': ['FastRandomResizedCrop', 'RandomFlip'],
}
COLOUR = (200, 80, 40)


def load(name: str = MOCO) -> Config:
    register_all_modules(init_default_scope=False)
    init_default_scope('mmpretrain')
    return Config.fromfile(config_path(name))


def effective(cfg: Config, folder: Path, **axes) -> Config:
    (point,) = points_of(cfg, {axis: [value] for axis, value in axes.items()})
    return grid.Grid(folder, cfg).effective(point)


def happening(view) -> list[str]:
    """The transforms of a view that can happen, in order."""
    found = []
    for step in view:
        if step.get('prob', 1) > 0:
            found += [inner.type for inner in step.transforms] if step.type == 'RandomApply' else [step.type]
    return [name for name in found if name not in ('NumpyToPIL', 'PILToNumpy')]


def views(dataset) -> list:
    pipelines = [one.pipeline for one in dataset.get('datasets', [dataset])]
    return [step.transforms[0] for pipeline in pipelines for step in pipeline if step.type == 'MultiView']


@pytest.mark.parametrize('data', ['bdd_weather', 'resisc45', 'chexpert'])
def test_each_policy_leaves_exactly_its_transforms(data, tmp_path, monkeypatch):
    monkeypatch.setenv('HPT_DATASET', data)
    cfg = load()
    assert POLICIES.keys() == LEFT.keys()
    for policy, left in LEFT.items():
        found = effective(cfg, tmp_path, policy=policy)
        assert [happening(view) for view in views(found.train_dataloader.dataset)] == [left]
        changed = {key for key in cfg if cfg[key] != found[key]}
        assert changed == (set() if policy == 'full' else {'train_dataloader'})


def test_a_policy_reaches_every_domain(tmp_path):
    found = effective(load('hpt/pretrain_moco_b2_domainnet_5ki.py'), tmp_path, policy='crop_blur')
    assert [happening(view) for view in views(found.train_dataloader.dataset)] == [LEFT['crop_blur']] * 2


@pytest.mark.parametrize('policy', POLICIES)
def test_what_happens_to_pictures(policy, tmp_path):
    """A picture of one colour shows jitter and grey, whatever is cut; a slope shows flips."""
    cfg = effective(load(), tmp_path, policy=policy)
    view = Compose([TRANSFORMS.build(step) for step in views(cfg.train_dataloader.dataset)[0]])
    plain = np.full((64, 64, 3), COLOUR, np.uint8)
    slope = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    np.random.seed(0)
    torch.manual_seed(0)
    colours, flips = [], []
    for _ in range(40):
        image = view(dict(img=plain.copy()))['img']
        assert image.shape == (224, 224, 3)
        colours.append(tuple(np.median(image.reshape(-1, 3), axis=0).astype(int)))
        image = view(dict(img=slope.copy()))['img'].astype(int).mean(axis=(0, 2))
        flips.append(image[-20:].mean() < image[:20].mean())
    grey = [len(set(colour)) == 1 for colour in colours]
    jittered = [colour != COLOUR and not one for colour, one in zip(colours, grey, strict=True)]
    assert any(flips) == ('RandomFlip' in LEFT[policy])
    assert any(grey) == ('RandomGrayscale' in LEFT[policy])
    assert any(jittered) == ('FastColorJitter' in LEFT[policy])


def write_list(root: Path, number: int = 2000) -> Config:
    """A config whose unlabelled images are the lines of a list below ``root``."""
    (root / 'splits').mkdir(parents=True)
    (root / 'splits' / 'unlabelled.txt').write_text('\n'.join(f'{index:04d}.jpg' for index in range(number)) + '\n')
    text = load().pretty_text.replace('data/resisc45/', f'{root}/')
    return Config.fromstring(text, '.py')


def images(dataset) -> list[str]:
    built = DATASETS.build(dict(dataset, pipeline=[]))
    return [Path(built.get_data_info(index)['img_path']).name for index in range(len(built))]


def test_shares_are_nested_and_the_first_of_the_list(tmp_path):
    cfg = write_list(tmp_path / 'data')
    before = []
    for share, number in (('0.128', 256), ('0.5', 1000), ('1', 2000)):
        found = effective(cfg, tmp_path / 'grid', share=share)
        drawn = images(found.train_dataloader.dataset)
        assert drawn == [f'{index:04d}.jpg' for index in range(number)]
        assert drawn[: len(before)] == before
        assert images(found.unlabelled_set) == drawn, 'what a chain trains on'
        before = drawn


def test_one_percent_of_resisc_is_gone_through_again_within_a_step(tmp_path):
    """252 of 25,200 images, four processes of 64: each step has each image once, and four twice."""
    cfg = write_list(tmp_path / 'data', 25_200)
    found = effective(cfg, tmp_path / 'grid', share='0.01')
    loader = dict(found.train_dataloader, num_workers=0, persistent_workers=False)
    drawn = []
    for rank in range(4):
        with mock.patch('mmengine.dataset.sampler.get_dist_info', return_value=(rank, 4)):
            built = Runner.build_dataloader(dict(loader, dataset=dict(loader['dataset'], pipeline=[])), seed=0)
        assert built.drop_last and built.batch_size == 64
        drawn += next(iter(built.batch_sampler))
    assert Counter(Counter(drawn).values()) == {1: 248, 2: 4} and set(drawn) == set(range(252))


@pytest.mark.parametrize('share', ['0', '1.5', 'half', '0.0001'])
def test_a_share_that_cannot_be_is_one_sentence(share, tmp_path):
    cfg = write_list(tmp_path / 'data')
    with pytest.raises(
        ConfigError, match='is none of the 2000 images' if share == '0.0001' else 'above 0 and up to 1'
    ):
        effective(cfg, tmp_path / 'grid', share=share)


def test_other_wrong_input_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match='no augmentation policy; the policies are full, no_jitter'):
        effective(load(), tmp_path, policy='none')
    with pytest.raises(ConfigError, match='no ColorJitter'):
        effective(load('hpt/freeze_r50_bn_linear_5ki.py'), tmp_path, policy='crop')
    with pytest.raises(ConfigError, match='no ann_file'):
        effective(load('hpt/pretrain_moco_b2_domainnet_5ki.py'), tmp_path, share='0.5')
    with pytest.raises(ConfigError, match='there is no .*make_splits.py'):
        cfg = load()
        cfg.train_dataloader.dataset.data_root = str(tmp_path)
        effective(cfg, tmp_path, share='0.5')


def test_one_command_pre_trains_at_a_policy_and_a_share_and_ends_with_a_backbone(tmp_path):
    """Trainings without an evaluation: finished when their backbones are written."""
    data = tmp_path / 'data'
    data.mkdir()
    random = np.random.default_rng(0)
    for index in range(16):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(data / f'{index:02d}.png')
    (data / 'list.txt').write_text('\n'.join(f'{index:02d}.png' for index in range(16)))
    dataset = 'train_dataloader.dataset'
    command = [
        *('grid_search.py', 'configs/shapes/scratch_moco_r18.py', '--out-dir', tmp_path / 'grid'),
        *('--axis', 'policy', 'crop', '--axis', 'share', '0.5', '--cfg-options'),
        *(f'{dataset}.{key}' for key in (f'data_root={data}', 'ann_file=list.txt', 'data_prefix=')),
        *('train_dataloader.batch_size=8', 'auto_scale_lr.base_batch_size=8', 'model.queue_len=8'),
        *('train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False'),
        *('train_cfg.max_iters=1', 'param_scheduler.0.end=1', 'default_hooks.checkpoint.interval=1'),
    ]
    done = run_tool(*command, OMP_NUM_THREADS='1')
    assert not done.returncode, done.stdout + done.stderr
    folder = tmp_path / 'grid' / 'policy=crop_share=0.5'
    assert torch.load(folder / 'backbone.pth', weights_only=True)['meta']['iterations'] == 1
    assert '| crop | 0.5 |  |  |  |  | finished |' in (tmp_path / 'grid' / 'table.md').read_text()
    (point,) = json.loads((tmp_path / 'grid' / 'grid.json').read_text())['points']
    assert f'{dataset}.indices=8' in point['overrides']
    # The folder of the point, seen from a longer training.
    (tmp_path / 'other').mkdir()
    folder.rename(tmp_path / 'other' / folder.name)
    opened = grid.Grid(tmp_path / 'empty', Config.fromfile(config_path('shapes/scratch_moco_r18.py')))
    opened.folder = tmp_path / 'other'
    assert not opened.finished(Point(**point))
    opened.cfg.train_cfg.max_iters = 1
    assert opened.finished(Point(**point))
