"""Study B's MoCo configs against the published settings in metafile.yml."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from mmpretrain.utils import register_all_modules
from PIL import Image
from rethink.models import SplitBN
from torch import nn
from torchvision.transforms import functional

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs' / 'hpt'
META = yaml.safe_load((FOLDER / 'metafile.yml').read_text())
SETTINGS = META['Collections'][0]['Metadata']['Settings']
MODELS_META = {model['Name']: model for model in META['Models']}
NAMES = sorted(path.stem for path in FOLDER.glob('*_moco_r*_*.py'))
# The others are the readers that they share.
DATA_SETS = sorted(
    path for path in (ROOT / 'configs/_base_/datasets').glob('hpt_*.py') if 'mean =' in path.read_text()
)


def load(name: str, folder: Path = FOLDER) -> Config:
    return Config.fromfile(folder / f'{name}.py')


def test_every_config_of_the_study_is_in_metafile_and_readme():
    configs = {path.stem for path in FOLDER.glob('*.py')}
    assert configs == set(MODELS_META)
    readme = (FOLDER / 'README.md').read_text()
    # A config that is no experiment of the paper is the neighbour of one that is.
    assert configs - {'freeze_r50_bn_linear_noaug_5ki'} == {name for name in configs if f'({name}.py)' in readme}


def test_every_config_has_its_entry():
    # Sixteen, two of them as released beside, and ImageNet.
    assert len(DATA_SETS) == 16 + 2 + 1
    assert len(NAMES) == 8 and set(NAMES) <= set(MODELS_META)
    for name in NAMES:
        assert MODELS_META[name]['Config'] == f'configs/hpt/{name}.py'
        assert 'Results' not in MODELS_META[name] and 'Weights' not in MODELS_META[name]
    assert 'configs/hpt/metafile.yml' in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_states_what_is_published_and_the_length(name):
    text = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))
    entry = MODELS_META[name]['Metadata']
    assert f'Published: {entry["Published"]}; not trained by us.' in text
    iterations, batch = entry['Iterations'], entry['Batch Size']
    images = f'{iterations * batch / 1e6:.2f} M images'
    assert f'Length: {iterations // 1000}k iterations of {batch} images = {images}' in text
    assert f'bash tools/dist_train.sh configs/hpt/{name}.py {SETTINGS["processes"]}' in text


@pytest.mark.parametrize('name', NAMES)
def test_settings_are_the_published_ones(name):
    cfg = load(name)
    model = cfg.model
    assert model.type == 'MoCo'
    assert (model.queue_len, model.feat_dim) == (SETTINGS['queue'], SETTINGS['feature dimension'])
    assert 1 - model.momentum == SETTINGS['momentum of the key encoder']
    assert model.head.temperature == SETTINGS['temperature']
    r18 = 'r18' in name
    projector = SETTINGS['projector, ResNet-18' if r18 else 'projector']
    assert [model.neck[f'{size}_channels'] for size in ('in', 'hid', 'out')] == projector
    depth = 18 if r18 else 50
    assert (model.backbone.type, model.backbone.depth, model.backbone.norm_cfg) == ('ResNet', depth, dict(type='BN'))

    optimizer = cfg.optim_wrapper.optimizer
    wanted = {key: SETTINGS[name] for key, name in (('momentum', 'momentum'), ('weight_decay', 'weight decay'))}
    assert optimizer == dict(type='SGD', lr=SETTINGS['learning rate'], **wanted)
    assert cfg.train_dataloader.batch_size * SETTINGS['processes'] == SETTINGS['batch size']
    assert cfg.auto_scale_lr.base_batch_size == SETTINGS['batch size'] == MODELS_META[name]['Metadata']['Batch Size']
    assert cfg.train_dataloader.drop_last

    length = cfg.train_cfg.max_iters
    key = 'iterations from random initialisation' if 'scratch' in name else 'iterations with a base'
    key = 'iterations with larger crops' if 'crop' in name else key
    assert length == MODELS_META[name]['Metadata']['Iterations'] and length in SETTINGS[key]
    if 'bnonly' in name:
        assert length == SETTINGS['iterations of HPT-BN']
    (cosine,) = cfg.param_scheduler
    assert cosine == dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=length, eta_min=0.0)

    hooks = [hook.type for hook in cfg.custom_hooks]
    assert 'ExportBackboneHook' in hooks
    assert ('InitFromBaseHook' in hooks) == ('pretrain' in name)
    assert ('TrainBNOnlyHook' in hooks) == ('bnonly' in name)


@pytest.mark.parametrize('name', NAMES)
def test_the_views_are_the_published_ones(name):
    _, views, _ = load(name).train_dataloader.dataset.pipeline
    assert views.num_views == 2
    crop, jitter, grey, blur, flip = views.transforms[0]
    assert (crop.type, crop.scale, list(crop.crop_ratio_range)) == (
        'FastRandomResizedCrop',
        MODELS_META[name]['Metadata'].get('Own settings', SETTINGS)['crop'],
        SETTINGS['crop scale'],
    )
    assert jitter.prob == SETTINGS['colour jitter probability']
    _, colour, _ = jitter.transforms
    assert [colour[key] for key in ('brightness', 'contrast', 'saturation', 'hue')] == SETTINGS['colour jitter']
    assert (grey.type, grey.prob) == ('RandomGrayscale', SETTINGS['grey probability'])
    assert (list(blur.magnitude_range), blur.prob) == (SETTINGS['blur deviation'], SETTINGS['blur probability'])
    assert flip.prob == SETTINGS['flip probability']


def test_views_draw_what_they_are_said_to_draw():
    """Jitter and grey, in pipelines of BGR, against torchvision's on RGB; blur over its whole range."""
    register_all_modules(init_default_scope=False)
    init_default_scope('mmpretrain')
    _, jitter, grey, blur, _ = load('pretrain_moco_r50_5ki').train_dataloader.dataset.pipeline[1].transforms[0]
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(rgb)

    there, colour, back = jitter.transforms
    for hue in (0.3, -0.3):
        steps = [there, dict(colour, brightness=0, contrast=0, saturation=0, hue=(hue, hue)), back]
        found = Compose(steps)(dict(img=rgb[..., ::-1].copy()))['img'][..., ::-1]
        np.testing.assert_array_equal(found, functional.adjust_hue(picture, hue))

    found = Compose([dict(grey, prob=1.0)])(dict(img=rgb[..., ::-1].copy()))['img']
    luma = np.asarray(functional.rgb_to_grayscale(picture)).astype(int)
    assert np.abs(found.astype(int) - luma[..., None]).max() <= 1

    (step,) = Compose([dict(blur)]).transforms
    drawn = np.array([step.random_magnitude() for _ in range(2000)])
    low, high = SETTINGS['blur deviation']
    assert low <= drawn.min() < low + 0.05 and high - 0.05 < drawn.max() <= high
    assert abs(drawn.mean() - (low + high) / 2) < 0.05


@pytest.mark.parametrize('name, data', [('crop362', 'bdd_weather'), ('crop640', 'coco2014_multilabel')])
def test_larger_crops_are_of_the_data_set_that_they_were_released_for(name, data, monkeypatch):
    monkeypatch.delenv('HPT_DATASET', raising=False)
    cfg, facts = load(f'pretrain_moco_r50_{name}_50ki'), Config.fromfile(DATA_SETS[0].parent / f'hpt_{data}.py')
    assert cfg.train_dataloader.dataset.data_root == facts.data_root and cfg.model.data_preprocessor.mean == facts.mean
    assert cfg.work_dir.endswith(data)


@pytest.mark.parametrize('length', SETTINGS['iterations from random initialisation'])
def test_a_length_is_two_overrides(length):
    cfg = load('pretrain_moco_r50_5ki')
    cfg.merge_from_dict({'train_cfg.max_iters': length, 'param_scheduler.0.end': length})
    optimizer = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.03))
    scheduler = PARAM_SCHEDULERS.build(cfg.param_scheduler[0], default_args=dict(optimizer=optimizer))
    assert scheduler.T_max == length
    rates = []
    for _ in range(min(length, 5000)):
        rates.append(optimizer.get_lr()['lr'][0])
        optimizer.step()
        scheduler.step()
    wanted = 0.015 * (1 + np.cos(np.pi * np.arange(len(rates)) / length))
    np.testing.assert_allclose(rates, wanted, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize('path', DATA_SETS, ids=lambda path: path.stem)
def test_the_data_set_is_a_variable(path, monkeypatch):
    facts = Config.fromfile(path)
    monkeypatch.setenv('HPT_DATASET', path.stem.removeprefix('hpt_'))
    monkeypatch.setenv('HPT_BASE', 'work_dirs/source/backbone.pth')
    cfg = load('pretrain_moco_r50_5ki')
    assert cfg.train_dataloader.dataset == dict(facts.unlabelled_set, pipeline=cfg.pipeline)
    assert cfg.train_dataloader.dataset.with_label is False
    assert cfg.model.data_preprocessor == dict(
        type='SelfSupDataPreprocessor', to_rgb=True, mean=facts.mean, std=facts.std
    )
    assert cfg.custom_hooks[0].checkpoint == 'work_dirs/source/backbone.pth'
    assert cfg.work_dir == f'work_dirs/pretrain_moco_r50_5ki/{path.stem.removeprefix("hpt_")}'


def test_the_real_model_makes_a_step():
    register_all_modules(init_default_scope=False)
    cfg = load('scratch_moco_r50_200ki')
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = model.data_preprocessor(dict(inputs=[torch.randint(0, 256, (4, 3, 64, 64))] * 2, data_samples=[]), True)
    # RGB, with the data set's own mean and deviation.
    assert data['inputs'][0].shape == (4, 3, 64, 64)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    # At random initialisation one of 65,537 keys is as likely as the others, up to what the temperature adds.
    assert 0 < loss < 20
    with_gradient = {key for key, one in model.named_parameters() if one.grad is not None}
    assert with_gradient == {key for key, _ in model.named_parameters() if not key.startswith('encoder_k.')}
    assert model.queue_ptr == 4


def test_the_overrides_of_the_docs():
    """docs/hpt.md: one process in quarters, a random projector, a frozen one."""
    cfg = load('pretrain_moco_r50_bnonly_5ki')
    text = (ROOT / 'docs' / 'hpt.md').read_text()
    overrides = {
        'train_dataloader.batch_size': '256',
        'model.backbone.norm_cfg.type': 'SplitBN',
        'model.backbone.norm_cfg.groups': '4',
        'custom_hooks.0.projector': 'False',
        'custom_hooks.2.also': '[]',
    }
    assert all(f'{key}={value}' in text for key, value in overrides.items())
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in overrides.items()})
    assert cfg.custom_hooks[0].projector is False and cfg.custom_hooks[2].also == []
    init_default_scope('mmpretrain')
    norms = [one for one in MODELS.build(cfg.model.backbone).modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == 53 and all(isinstance(one, SplitBN) and one.groups == 4 for one in norms)
