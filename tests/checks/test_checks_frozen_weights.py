"""Frozen random weights are refused before training, whatever was to give the backbone its weights."""

import pytest
import torch
from conftest import write_detector
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from rethink.checks.weights import check_weights
from rethink.errors import ConfigError

FREEZE = "model['backbone'].update(type='FrozenBackbone', of='ResNet')"


@pytest.fixture
def cfg(tmp_path, data):
    return Config.fromfile(write_detector(tmp_path / 'frozen.py', data, FREEZE))


@pytest.fixture
def weights(tmp_path, data):
    """The weights of the same detector, fine-tuned."""
    init_default_scope('mmdet')
    return MODELS.build(Config.fromfile(write_detector(tmp_path / 'plain.py', data)).model).state_dict()


@pytest.fixture
def save(tmp_path):
    def save(weights, name='a.pth') -> str:
        torch.save(dict(state_dict=weights), tmp_path / name)
        return str(tmp_path / name)

    return save


def fails(cfg, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        check_weights(cfg)
    assert '\n' not in str(caught.value) and str(caught.value).endswith('.')


def without(weights, *keys) -> dict:
    assert set(keys) <= set(weights)
    return {key: value for key, value in weights.items() if key not in keys}


def test_no_weights(cfg):
    fails(cfg, r'model\.backbone is frozen and no checkpoint gives its weights; name one in model\.backbone\.init_cfg')
    cfg.model.backbone.allow_random = True
    check_weights(cfg)


def test_weights_of_timm(cfg, tmp_path):
    import timm

    cfg.model.backbone = dict(type='FrozenBackbone', of='mmpretrain.TIMMBackbone', model_name='resnet18')
    init_default_scope('mmdet')
    with pytest.raises(ConfigError, match='model.backbone is frozen and no checkpoint'):
        check_weights(cfg, MODELS.build(cfg.model))
    torch.save(timm.create_model('resnet18').state_dict(), tmp_path / 'a.pth')
    cfg.model.backbone.checkpoint_path = str(tmp_path / 'a.pth')
    check_weights(cfg, MODELS.build(cfg.model))


def test_load_from(cfg, weights, save):
    """The whole of a fine-tuned detector, or no more than its backbone."""
    cfg.load_from = save(weights)
    check_weights(cfg)
    cfg.load_from = save({key: one for key, one in weights.items() if key.startswith('backbone.')})
    check_weights(cfg)
    cfg.load_from = save(without(weights, 'backbone.layer1.0.bn1.running_mean'))
    fails(cfg, r"the frozen model\.backbone gets 74 of 75 tensors from .*a\.pth.*\('layer1\.0\.bn1\.running_mean'\)")
    cfg.model.backbone.allow_random = True
    check_weights(cfg)


def test_init_cfg(cfg, weights, save):
    init_cfg = dict(type='Pretrained', checkpoint=save(weights), prefix='backbone')
    cfg.model.backbone.init_cfg = init_cfg
    check_weights(cfg)
    init_cfg['prefix'] = 'backbone.'
    check_weights(cfg)
    missing = without(weights, 'backbone.bn1.running_var')
    cfg.model.backbone.init_cfg.checkpoint = save(missing, 'b.pth')
    fails(cfg, r"frozen model\.backbone gets 74 of 75 .*b\.pth.*\('bn1\.running_var'\) would stay random")
    wider = weights | {'backbone.conv1.weight': torch.zeros(16, 3, 7, 7)}
    cfg.model.backbone.init_cfg.checkpoint = save(wider, 'c.pth')
    fails(cfg, r"74 of 75 .*c\.pth.*\('conv1\.weight'\)")
    cfg.model.backbone.init_cfg.checkpoint = save(weights)
    cfg.model.backbone.init_cfg.prefix = None
    fails(cfg, r'the frozen model\.backbone gets 0 of 75')


def test_init_cfg_of_the_detector(cfg, weights, save):
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint=save(weights))
    check_weights(cfg)
    cfg.model.init_cfg.checkpoint = save(without(weights, 'backbone.bn1.weight'), 'b.pth')
    fails(cfg, r"frozen model\.backbone gets 74 of 75 .*b\.pth.*\('bn1\.weight'\)")


def test_two_that_give_it_together(cfg, weights, save):
    cfg.load_from = save({key: one for key, one in weights.items() if 'bn1.' in key}, 'b.pth')
    rest = {key: one for key, one in weights.items() if 'bn1.' not in key}
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=save(rest), prefix='backbone')
    check_weights(cfg)
    cfg.load_from = save({key: one for key, one in weights.items() if '.bn1.weight' in key}, 'b.pth')
    fails(cfg, r'from .*b\.pth and .*a\.pth, and the others')


def test_a_base(cfg, weights, save):
    cfg.custom_hooks = [dict(type='InitFromBaseHook', checkpoint=save(weights))]
    check_weights(cfg)
    missing = without(weights, 'backbone.bn1.running_var')
    cfg.custom_hooks[0].checkpoint = save(missing, 'b.pth')
    fails(cfg, r"b\.pth .*does not fit the model: .* 1 are missing \('bn1\.running_var'\)")


def test_what_a_job_is_to_download_is_left_to_it(cfg):
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    check_weights(cfg, remote=False)


def test_a_test_loads_everything(cfg, weights, save):
    cfg.load_from = save(weights)
    init_default_scope('mmdet')
    check_weights(cfg, MODELS.build(cfg.model), strict=True)


def test_the_tool_ends_with_a_sentence(cfg, weights, tmp_path, run_in_process):
    """Before the first step, also of what is neither a file nor on the web."""
    file = tmp_path / 'frozen.py'
    code, printed = run_in_process('train.py', file, '--work-dir', tmp_path / 'a')
    assert code == 2 and 'error: the whole backbone of ResNet is frozen, and no checkpoint gives weights' in printed
    backbone = {key.removeprefix('backbone.'): one for key, one in weights.items() if key.startswith('backbone.')}
    content = dict(state_dict=without(backbone, 'bn1.weight'))
    CheckpointLoader.register_scheme('elsewhere://', lambda name, map_location: content, force=True)
    remote = ['model.backbone.init_cfg.type=Pretrained', 'model.backbone.init_cfg.checkpoint=elsewhere://weights']
    code, printed = run_in_process('train.py', file, '--work-dir', tmp_path / 'b', '--cfg-options', *remote)
    assert code == 2 and 'error: the frozen model.backbone gets 74 of 75 tensors from elsewhere://weights' in printed
    assert 'Iter(train)' not in printed
