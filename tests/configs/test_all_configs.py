"""What holds for every config that a user starts."""

import ast
import functools
from pathlib import Path

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
NAMES = [str(path.relative_to(ROOT)) for path in CONFIGS]


@pytest.mark.parametrize('name', NAMES)
def test_it_opens_with_what_it_is_how_long_it_takes_and_the_command(name):
    docstring = ast.get_docstring(ast.parse((ROOT / name).read_text()))
    assert docstring
    assert '\nLength: ' in docstring
    assert name in docstring[docstring.index('\nRun: ') :]


@functools.cache
def load(name):
    return Config.fromfile(ROOT / name)


BUILT = {}


def trained(cfg) -> dict[str, bool]:
    """Whether each parameter of a config's model is trained; lengths share the models."""
    key = str(cfg.model)
    if key not in BUILT:
        init_default_scope(cfg.default_scope)
        BUILT[key] = {name: one.requires_grad for name, one in MODELS.build(cfg.model).named_parameters()}
    return BUILT[key]


@pytest.fixture
def values_do_not_matter(monkeypatch):
    """Random numbers for all weights take most of the time in which a large detector is built."""
    for draw in ('normal_', 'uniform_'):
        monkeypatch.setattr(torch.Tensor, draw, lambda self, *args, **kwargs: self)


@pytest.mark.parametrize('name', NAMES)
def test_the_model_builds_and_random_weights_are_never_frozen(name, values_do_not_matter):
    register_all_modules(init_default_scope=False)
    cfg = load(name)
    assert cfg.custom_imports.imports == ['rethink']
    parameters = trained(cfg)
    frozen = [key for key, requires_grad in parameters.items() if not requires_grad]
    if cfg.model.type == 'MoCo':  # the encoder of keys follows the other one
        assert all(key.startswith('encoder_k.') for key in frozen)
        frozen = []
    hooks = [hook.type for hook in cfg.get('custom_hooks', [])]
    assert 'TrainBNOnlyHook' not in hooks or 'InitFromBaseHook' in hooks
    init_cfg = cfg.model.backbone.get('init_cfg')
    if Path(name).stem.startswith('freeze'):  # all of the backbone, and nothing else, which comes from a file
        assert 'InitFromBaseHook' in hooks or (cfg.model.backbone.type == 'FrozenBackbone' and init_cfg.checkpoint)
        assert not cfg.model.backbone.get('allow_random')
        backbone = [key for key in parameters if key.startswith('backbone.')]
        assert frozen == [key for key in backbone if '.adapter.' not in key]
    elif not init_cfg:
        assert not frozen and cfg.model.backbone.get('frozen_stages', -1) == -1
    elif 'pretrain' in name:
        assert frozen and all(key.startswith('backbone.') for key in frozen)


@pytest.mark.parametrize('name', NAMES)
def test_the_length_is_divided_into_whole_evaluations_and_checkpoints(name):
    """So that the last iteration is evaluated and saved by the same rule as every other."""
    cfg = load(name)
    assert cfg.train_cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0
    assert 'train_dataloader' in cfg
    if cfg.model.type == 'MoCo':  # without labels there is nothing to evaluate; what it gives is a backbone
        stages = [f'{stage}_{part}' for stage in ('val', 'test') for part in ('dataloader', 'cfg', 'evaluator')]
        assert not [key for key in stages if cfg.get(key)]
        assert 'ExportBackboneHook' in [hook.type for hook in cfg.custom_hooks]
    else:
        assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
        assert 'val_dataloader' in cfg and 'test_dataloader' in cfg
    assert cfg.default_hooks.checkpoint.type == 'AtomicCheckpointHook'
    assert cfg.train_cfg.type == 'ResumableTrainLoop'
