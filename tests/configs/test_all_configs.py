"""What holds for every config that a user starts."""

import ast
from pathlib import Path

import pytest
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


@pytest.mark.parametrize('name', NAMES)
def test_the_model_builds_and_random_weights_are_never_frozen(name):
    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(ROOT / name)
    init_default_scope(cfg.default_scope)
    assert cfg.custom_imports.imports == ['rethink']
    model = MODELS.build(cfg.model)
    frozen = [key for key, parameter in model.named_parameters() if not parameter.requires_grad]
    if cfg.model.type == 'MoCo':  # the encoder of keys follows the other one
        assert all(key.startswith('encoder_k.') for key in frozen)
        frozen = []
    hooks = [hook.type for hook in cfg.get('custom_hooks', [])]
    assert 'TrainBNOnlyHook' not in hooks or 'InitFromBaseHook' in hooks
    init_cfg = cfg.model.backbone.get('init_cfg')
    if Path(name).stem.startswith('freeze'):  # all of the backbone, and nothing else, which comes from a file
        assert 'InitFromBaseHook' in hooks
        assert frozen == [key for key, _ in model.named_parameters() if key.startswith('backbone.')]
    elif not init_cfg:
        assert not frozen and cfg.model.backbone.get('frozen_stages', -1) == -1
    elif 'pretrain' in name:
        assert frozen and all(key.startswith('backbone.') for key in frozen)


@pytest.mark.parametrize('name', NAMES)
def test_the_length_is_divided_into_whole_evaluations_and_checkpoints(name):
    """So that the last iteration is evaluated and saved by the same rule as every other."""
    cfg = Config.fromfile(ROOT / name)
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
