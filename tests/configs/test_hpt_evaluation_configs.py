"""Study B's evaluations by classification: configs against the published settings in metafile.yml."""

import ast
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.utils import register_all_modules

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs' / 'hpt'
META = yaml.safe_load((FOLDER / 'metafile.yml').read_text())
COLLECTION = 'Hierarchical Pre-Training, classification'
(SETTINGS,) = [one['Metadata']['Settings'] for one in META['Collections'] if one['Name'] == COLLECTION]
ENTRIES = {one['Name']: one for one in META['Models'] if one['In Collection'] == COLLECTION}
NAMES = sorted(path.stem for path in FOLDER.glob('*_r*_bn_*.py'))

register_all_modules(init_default_scope=False)


def load(name, monkeypatch, dataset='resisc45') -> Config:
    monkeypatch.setenv('HPT_DATASET', dataset)
    return Config.fromfile(FOLDER / f'{name}.py')


def test_every_config_has_its_entry_and_every_entry_its_config():
    assert len(NAMES) == 7 and set(NAMES) == set(ENTRIES)


@pytest.mark.parametrize('name', NAMES)
def test_settings_are_the_published_ones(name, monkeypatch):
    cfg, entry = load(name, monkeypatch), ENTRIES[name]['Metadata']
    text = ast.get_docstring(ast.parse((FOLDER / f'{name}.py').read_text()))
    if 'Published' in entry:
        assert f'Published: {entry["Published"]}; not trained by us.' in text
    (steps,) = cfg.param_scheduler
    assert cfg.train_cfg.max_iters == steps.end == entry['Iterations']
    assert steps.milestones == entry['Own settings']['drops'] and steps.gamma == 0.1
    assert cfg.train_dataloader.batch_size * SETTINGS['processes'] == SETTINGS['batch size']
    assert cfg.auto_scale_lr.base_batch_size == SETTINGS['batch size']
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.momentum, optimizer.weight_decay) == (SETTINGS['momentum'], SETTINGS['weight decay'])
    kind = 'linear' if 'linear' in name else 'semi-supervised'
    assert cfg.learning_rates == SETTINGS[f'learning rates, {kind}'] and optimizer.lr in cfg.learning_rates
    crop, flip = cfg.train_dataloader.dataset.pipeline[1:3]
    if 'noaug' in name:
        assert cfg.train_dataloader.dataset.pipeline == cfg.test_dataloader.dataset.pipeline
    else:
        assert (crop.type, crop.scale, flip.type) == ('FastRandomResizedCrop', SETTINGS['crop'], 'RandomFlip')
    for part in ('val', 'test'):
        resize, crop = cfg[f'{part}_dataloader'].dataset.pipeline[1:3]
        assert (resize.scale, resize.edge) == (SETTINGS['shorter side, test'], 'short')
        assert crop.crop_size == SETTINGS['crop']
        assert cfg[f'{part}_dataloader'].dataset.ann_file == f'splits/{part}.txt'
    labels = '' if kind == 'linear' else f'_{SETTINGS["labels, semi-supervised"]}'
    assert cfg.train_dataloader.dataset.ann_file == f'splits/train{labels}.txt'
    assert cfg.val_cfg.type == 'ValAndTestLoop'


@pytest.mark.parametrize('name', NAMES)
def test_what_is_trained_and_how_fast(name, monkeypatch):
    cfg = load(name, monkeypatch)
    init_default_scope('mmpretrain')
    width = {50: 2048, 18: 512}[cfg.model.backbone.depth]
    assert ('r18' in name) == (cfg.model.backbone.depth == 18) and cfg.model.head.in_channels == width
    cfg.model.backbone.update(depth=18)
    cfg.model.head.in_channels = 512
    model = MODELS.build(cfg.model).train()
    awake = [one for one in model.modules() if isinstance(one, torch.nn.BatchNorm2d) and one.training]
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    rates = {parameter: group['lr'] for group in wrapper.param_groups for parameter in group['params']}
    lr = cfg.optim_wrapper.optimizer.lr
    factor = SETTINGS["factor of the head's learning rate, semi-supervised"]
    for key, parameter in model.named_parameters():
        if 'linear' in name:
            assert parameter.requires_grad == key.startswith('head.')
        else:
            assert parameter.requires_grad
            assert rates[parameter] == pytest.approx(lr * factor if key.startswith('head.') else lr)
    assert bool(awake) == ('semi' in name)


@pytest.mark.parametrize('name', NAMES)
def test_another_data_set_brings_its_head_its_metric_and_its_pixels(name, monkeypatch):
    one, several = load(name, monkeypatch), load(name, monkeypatch, 'chexpert')
    assert (one.model.head.type, one.model.head.num_classes) == ('LinearClsHead', 45)
    assert (several.model.head.type, several.model.head.num_classes) == ('MultiLabelLinearClsHead', 5)
    assert several.model.head.loss == dict(type='MeanBCELoss')
    assert [metric.type for metric in several.val_evaluator] == ['MultiLabelAUROC']
    assert one.metric == 'accuracy/top1' and several.metric == 'multi-label/AUROC'
    assert several.model.data_preprocessor.mean == several.mean != one.mean == one.model.data_preprocessor.mean
    assert several.train_dataloader.dataset.data_root == 'data/chexpert/'
    assert several.work_dir == f'work_dirs/{name}/chexpert'
