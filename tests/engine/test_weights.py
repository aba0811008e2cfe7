"""Backbones of all formats are read under one name, and what is none is refused."""

import pytest
import torch
import torchvision
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.utils import register_all_modules
from rethink.engine.weights import check_fit, load, read_backbone, read_weights
from rethink.errors import ConfigError
from torch import nn

register_all_modules(init_default_scope=False)


@pytest.fixture(scope='module')
def resnet():
    """torchvision's, with running statistics that are not those of the beginning."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18().train()
    with torch.no_grad():
        model(torch.randn(4, 3, 64, 64))
    return model.eval()


def save(path, weights: dict, **more):
    torch.save(dict(state_dict=weights, **more), path)
    return path


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 8))


def prefixed(weights: dict, prefix: str) -> dict:
    return {prefix + key: value for key, value in weights.items()}


def official(resnet, version: int) -> dict:
    """As MoCo's main_moco.py saves: torchvision's ResNet twice, its ``fc`` the projector, in a wrapper."""
    of_resnet = {key: value for key, value in resnet.state_dict().items() if not key.startswith('fc.')}
    projector = prefixed((mlp() if version == 2 else nn.Linear(512, 8)).state_dict(), 'fc.')
    other = {key: torch.zeros_like(value) for key, value in of_resnet.items()}
    weights = prefixed(of_resnet | projector, 'encoder_q.') | prefixed(other | projector, 'encoder_k.')
    return prefixed(weights | dict(queue=torch.randn(8, 16), queue_ptr=torch.zeros(1)), 'module.')


def file_of(kind: str, resnet, folder):
    path = folder / f'{kind}.pth'
    weights = {key: value for key, value in resnet.state_dict().items() if not key.startswith('fc.')}
    if kind.startswith('moco'):
        return save(path, official(resnet, int(kind[-1])), epoch=800, arch='resnet18', optimizer=dict(state={}))
    if kind == 'torchvision':
        torch.save(resnet.state_dict(), path)
        return path
    weights = prefixed(weights, 'backbone.')
    if kind == 'supervised':
        return save(path, weights | prefixed(nn.Linear(512, 5).state_dict(), 'head.fc.'), meta=dict(epoch=100))
    if kind == 'detector':
        return save(path, weights | prefixed(nn.Conv2d(512, 8, 1).state_dict(), 'neck.lateral_convs.0.conv.'))
    of_key = {key.replace('backbone.', 'encoder_k.module.0.'): torch.zeros_like(one) for key, one in weights.items()}
    neck = prefixed(mlp().state_dict(), 'neck.mlp.')
    return save(path, weights | neck | of_key | {'encoder_k.steps': torch.tensor(7)}, meta=dict(iterations=7))


@pytest.mark.parametrize('kind', ['moco2', 'moco1', 'torchvision', 'supervised', 'detector', 'mmpretrain moco'])
@pytest.mark.parametrize('registry', [MODELS, MMDET_MODELS], ids=['mmpretrain', 'mmdet'])
def test_the_backbone_computes_what_torchvisions_does(resnet, tmp_path, kind, registry):
    weights = read_weights(file_of(kind, resnet, tmp_path))
    init_default_scope('mmpretrain' if registry is MODELS else 'mmdet')
    ours = registry.build(dict(type='ResNet', depth=18, norm_cfg=dict(type='BN'), norm_eval=False))
    ours.eval()
    assert check_fit(ours, weights.backbone, kind) == '100 of 100 tensors'
    load(ours, weights.backbone)
    images = torch.randn(2, 3, 64, 64)
    wanted = nn.Sequential(*list(resnet.children())[:-2])(images)
    torch.testing.assert_close(ours(images)[-1], wanted, rtol=1e-5, atol=1e-5)
    projector = {'mlp.0.weight', 'mlp.0.bias', 'mlp.2.weight', 'mlp.2.bias'}
    assert set(weights.projector) == (projector if kind in ('moco2', 'mmpretrain moco') else set())


def test_the_projector_of_moco_is_that_of_mmpretrain(resnet, tmp_path):
    path = file_of('moco2', resnet, tmp_path)
    saved = torch.load(path, weights_only=True)['state_dict']
    init_default_scope('mmpretrain')
    neck = MODELS.build(dict(type='MoCoV2Neck', in_channels=512, hid_channels=16, out_channels=8))
    weights = read_weights(path)
    assert check_fit(neck, weights.projector, 'projector') == '4 of 4 tensors'
    load(neck, weights.projector)
    theirs = mlp()
    theirs.load_state_dict({key: saved[f'module.encoder_q.fc.{key}'] for key in theirs.state_dict()})
    features = torch.randn(2, 512, 3, 3)
    torch.testing.assert_close(neck((features,))[0], theirs(features.mean((2, 3))))


def test_old_files_lack_the_count_of_batches(resnet, tmp_path):
    weights = {key: value for key, value in resnet.state_dict().items() if 'num_batches' not in key}
    backbone = read_backbone(save(tmp_path / 'old.pth', weights))
    init_default_scope('mmpretrain')
    ours = MODELS.build(dict(type='ResNet', depth=18))
    assert check_fit(ours, backbone, 'old') == '100 of 100 tensors'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(state_dict={'visual.proj': torch.zeros(2)}), r"has no backbone: .* its 1 tensors \('visual\.proj'\)"),
        (dict(meta=dict(epoch=3)), 'has no backbone'),
        ([torch.zeros(1)], 'holds a list, not the weights'),
        (dict(state_dict={}, path=nn.Linear), 'holds more than values: it asks for '),
    ],
)
def test_what_is_no_backbone_is_one_sentence(tmp_path, content, message):
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match=message):
        read_backbone(tmp_path / 'other.pth')


def test_what_is_no_file_or_half_a_file_is_one_sentence(resnet, tmp_path):
    with pytest.raises(ConfigError, match='does not exist'):
        read_backbone(tmp_path / 'absent.pth')
    with pytest.raises(ConfigError, match='not a local file'):
        read_backbone('torchvision://resnet50')
    whole = file_of('torchvision', resnet, tmp_path).read_bytes()
    (tmp_path / 'half.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match='half-written|not a PyTorch checkpoint'):
        read_backbone(tmp_path / 'half.pth')
