"""torchvision's networks as backbones, against the networks themselves."""

import torch
from mmengine.registry import MODELS
from rethink.models.torchvision_backbone import nodes
from torchvision.models import get_model


def test_the_maps_are_those_inside_the_network():
    """In evaluation and in training, where BN and dropout differ; nothing behind the last map is there."""
    chosen = ['features.3.add', 'features.8.add']
    cfg = dict(type='TorchvisionBackbone', name='mobilenet_v3_small', nodes=chosen)
    torch.manual_seed(0)
    whole, found = get_model('mobilenet_v3_small', weights=None), MODELS.build(cfg)
    found.net.load_state_dict(whole.state_dict(), strict=False)
    images = torch.randn(2, 3, 64, 96)
    for mode in (False, True):
        whole.train(mode)
        found.train(mode)
        assert torch.equal(found(images)[0], whole.features[:4](images))
        assert torch.equal(found(images)[1], whole.features[:9](images))
    assert not [key for key in found.state_dict() if 'classifier' in key or 'features.9' in key]
    assert set(chosen) <= set(nodes('mobilenet_v3_small'))


def test_it_can_be_frozen():
    cfg = dict(type='FrozenBackbone', of='TorchvisionBackbone', name='mobilenet_v3_small', nodes=['features.3.add'])
    frozen = MODELS.build(dict(cfg, allow_random=True))
    frozen.train(True)
    assert not frozen.net.training and not any(one.requires_grad for one in frozen.parameters())
    assert not frozen(torch.randn(1, 3, 64, 64))[0].requires_grad
