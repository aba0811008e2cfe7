"""What timm leaves random where it is to give a network its weights: it is said, or refused."""

from pathlib import Path

import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from rethink.checks.weights import check_weights
from rethink.errors import ConfigError
from rethink.trust.timm_weights import left_random

NAME = 'tf_mobilenetv3_small_minimal_100'


@pytest.fixture(scope='module')
def whole() -> dict:
    torch.manual_seed(1)
    return timm.create_model(NAME, pretrained=False).state_dict()


def write(folder: Path, weights: dict) -> str:
    torch.save(weights, folder / 'weights.pth')
    return str(folder / 'weights.pth')


def config(file: str, **more) -> Config:
    """A model of a timm backbone alone, which timm gives its weights from a file."""
    backbone = dict(type='mmpretrain.TIMMBackbone', model_name=NAME, features_only=True, pretrained=True)
    backbone |= dict(pretrained_cfg_overlay=dict(file=file, hf_hub_id=None)) | more
    return Config(dict(default_scope='mmpretrain', model=dict(type='ImageClassifier', backbone=backbone)))


def frozen(file: str) -> Config:
    return config(file, type='FrozenBackbone', of='mmpretrain.TIMMBackbone')


# As timm writes it, as DistributedDataParallel does, and within what trainers write.
FITTING = [dict, lambda one: {f'module.{key}': value for key, value in one.items()}, lambda one: dict(state_dict=one)]


@pytest.mark.parametrize('form', FITTING)
@pytest.mark.parametrize('make', [config, frozen])
def test_weights_that_fit_are_all_there(whole, tmp_path, capsys, make, form):
    cfg = make(write(tmp_path, form(whole)))
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    assert not left_random(model)
    own = {key.removeprefix('backbone.timm_model.'): value for key, value in model.state_dict().items()}
    assert len(own) > 150 and all(torch.equal(value, whole[key]) for key, value in own.items())
    check_weights(cfg, model)
    assert 'tensors' not in capsys.readouterr().out


def below_a_prefix(whole: dict) -> dict:
    """As MMPretrain names them, whose classifier has timm's network as its backbone."""
    return {f'backbone.timm_model.{key}': value for key, value in whole.items()}


@pytest.mark.parametrize('form', [below_a_prefix, lambda _: dict(a=torch.ones(1))])
def test_weights_under_other_names_are_refused(whole, tmp_path, form):
    file = write(tmp_path, form(whole))
    with pytest.raises(ConfigError, match=rf'model\.backbone .* gets none of its \d+ tensors from {file}'):
        check_weights(config(file))
    with pytest.raises(ConfigError, match=rf'frozen model\.backbone gets 0 of \d+ tensors from {file}'):
        check_weights(frozen(file))


def test_a_part_of_the_weights_is_said_and_not_frozen(whole, tmp_path, capsys):
    part = {key: value for key, value in whole.items() if not key.startswith('blocks.3.')}
    cfg = config(write(tmp_path, part))
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    random = {key: value for key, value in model.state_dict().items() if '.blocks.3.' in key}
    # Counters of BN are no weights.
    assert left_random(model).keys() == {key for key, value in random.items() if value.is_floating_point()}
    check_weights(cfg, model)
    said = capsys.readouterr()
    assert f'{170 - len(left_random(model))} of 170 tensors come from {tmp_path}' in said.out + said.err
    with pytest.raises(ConfigError, match='and the others .*blocks.3.* would stay random'):
        check_weights(frozen(cfg.model.backbone.pretrained_cfg_overlay.file))
    # MMDetection's own tool does not ask that; the backbone itself does.
    backbone = MODELS.build(frozen(cfg.model.backbone.pretrained_cfg_overlay.file).model.backbone)
    backbone.init_weights()
    with pytest.raises(ConfigError, match='that no checkpoint gave'):
        backbone(torch.ones(1, 3, 64, 64))


def test_counters_that_old_files_have_not_are_no_matter(whole, tmp_path):
    old = {key: value for key, value in whole.items() if 'num_batches' not in key}
    check_weights(frozen(write(tmp_path, old)))


def test_what_is_loaded_afterwards_counts(whole, tmp_path):
    """``load_from`` gives a whole model what timm has not."""
    cfg = config(write(tmp_path, dict(a=torch.ones(1))))
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    cfg.load_from = str(tmp_path / 'model.pth')
    check_weights(cfg, model)
