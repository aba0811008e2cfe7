"""Adapters: nothing at first, then a 1×1 kernel in the middle of the convolution's, which is the oracle here."""

import pytest
import torch
from mmcv.cnn import build_conv_layer
from rethink.models.adapters import Adapter, ConvWithAdapter
from tiny_detectors import build, changed, copied, frozen, optimise, plain, retinanet, train
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

ADAPTED = dict(type='ConvWithAdapter')
CASES = [
    dict(stride=1, padding=1),
    dict(stride=2, padding=1),
    dict(stride=(2, 1), padding=2, dilation=2),
    dict(stride=1, padding=1, groups=4, bias=False),
]


@pytest.mark.parametrize('case', CASES)
def test_at_first_it_is_the_convolution_to_the_bit(case):
    torch.manual_seed(0)
    layer, same = build_conv_layer(ADAPTED, 8, 12, 3, **case), nn.Conv2d(8, 12, 3, **case)
    assert isinstance(layer, ConvWithAdapter) and isinstance(layer, nn.Conv2d)
    assert set(layer.state_dict()) - set(same.state_dict()) == {'adapter.weight'}
    same.load_state_dict({key: one for key, one in layer.state_dict().items() if key != 'adapter.weight'})
    x = torch.randn(2, 8, 9, 12)
    assert torch.equal(layer(x), same(x))


@pytest.mark.parametrize('case', CASES)
def test_it_is_one_more_weight_at_the_centre_of_the_kernel(case):
    """So values are those of a convolution with the sum, and the adapter's gradient is that of the centre."""
    torch.manual_seed(0)
    layer = build_conv_layer(ADAPTED, 8, 12, 3, **case).double()
    nn.init.normal_(layer.adapter.weight)
    one = nn.Conv2d(8, 12, 3, **case).double()
    with torch.no_grad():
        one.weight.copy_(layer.weight)
        one.weight[:, :, 1:2, 1:2] += layer.adapter.weight
        if one.bias is not None:
            one.bias.copy_(layer.bias)
    x = torch.randn(2, 8, 9, 12, dtype=torch.float64)
    mine, theirs = layer(x), one(x)
    torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    mine.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(layer.adapter.weight.grad, one.weight.grad[:, :, 1:2, 1:2], rtol=1e-11, atol=1e-11)
    assert layer.adapter.weight.grad.abs().min() > 0


def test_which_convolutions_have_one():
    kernels = {1: build_conv_layer(ADAPTED, 4, 4, 1), 3: build_conv_layer(ADAPTED, 4, 4, 3, padding=1)}
    assert kernels[1].adapter is None and list(kernels[1].state_dict()) == ['weight', 'bias']
    assert isinstance(kernels[3].adapter, Adapter)
    both = dict(**ADAPTED, kernel_sizes=(1, 7))
    assert build_conv_layer(both, 4, 4, 3, padding=1).adapter is None
    assert build_conv_layer(both, 4, 4, 1).adapter is not None
    assert build_conv_layer(both, 4, 4, 7, padding=3).adapter is not None


@pytest.mark.parametrize('case', [dict(), dict(padding=2), dict(padding=1, padding_mode='reflect')])
def test_convolutions_that_are_not_centred_are_refused(case):
    with pytest.raises(ValueError, match=r'needs an odd kernel and zeros for padding, here \(1, 1\)'):
        build_conv_layer(ADAPTED, 4, 4, 3, **case)


@pytest.mark.parametrize('depth', [18, 50])
def test_a_resnet_with_adapters_is_the_resnet(depth):
    """After MMDetection's initialisation, which draws the weights of all convolutions; a fine-tuned file loads."""
    model, same = build(plain('resnet', depth=depth, conv_cfg=ADAPTED)), build(plain('resnet', depth=depth))
    model.init_weights()
    same.init_weights()
    adapters = {key for key in model.state_dict() if key.endswith('.adapter.weight')}
    # Beside each 3×3 convolution: two in a basic block, one in a bottleneck.
    assert len(adapters) == 16
    found = model.load_state_dict(same.state_dict(), strict=False)
    assert set(found.missing_keys) == adapters and not found.unexpected_keys
    images = torch.randn(2, 3, 64, 64)
    for mine, theirs in zip(model(images), same(images), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize('more', [dict(), dict(with_cp=True)])
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'CPUAmpOptimWrapper'])
def test_beside_a_frozen_backbone_adapters_alone_are_trained(more, wrapper):
    # With the last norms of the blocks at 0, as initialised by default, no gradient would pass.
    model = retinanet('resnet', frozen('resnet', conv_cfg=ADAPTED, zero_init_residual=False, **more))
    adapters = {key for key, one in model.backbone.named_parameters() if one.requires_grad}
    assert len(adapters) == 16 and all(key.endswith('.adapter.weight') for key in adapters)
    paramwise = dict(custom_keys=dict(adapter=dict(lr_mult=5.0, decay_mult=0.0)))
    optim_wrapper = optimise(model, wrapper, paramwise_cfg=paramwise)
    rates = {id(one): group for group in optim_wrapper.optimizer.param_groups for one in group['params']}
    assert len(rates) == sum(one.requires_grad for one in model.parameters())
    for key, one in model.named_parameters():
        if one.requires_grad:
            group = rates[id(one)]
            wanted = (0.05, 0.0) if 'adapter' in key else (0.01, 0.1)
            assert (group['lr'], group['weight_decay']) == pytest.approx(wanted)
    before = copied(model.backbone)
    train(model, optim_wrapper)
    assert changed(before, model.backbone) == adapters
    assert not any(module.training for module in model.backbone.modules() if not isinstance(module, Adapter))


def test_gradients_through_a_frozen_backbone_are_those_of_the_whole():
    """Autograd begins at the first adapter, and what follows is differentiated as if nothing were frozen."""
    model, same = (build(one('resnet', conv_cfg=ADAPTED)).double() for one in (frozen, plain))
    same.eval()
    for key, one in model.named_parameters():
        if 'adapter' in key:
            nn.init.normal_(one, std=0.1)
    same.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    kept = []
    for one in (model, same):
        sizes = []
        with saved_tensors_hooks(lambda tensor, sizes=sizes: sizes.append(tensor.shape) or tensor, lambda one: one):
            maps = one(images)
        kept.append(sizes)
        sum(each.square().mean() for each in maps).backward()
    theirs = dict(same.named_parameters())
    for key, one in model.named_parameters():
        if 'adapter' in key:
            torch.testing.assert_close(one.grad, theirs[key].grad, rtol=1e-10, atol=1e-14)
            assert one.grad.abs().max() > 0
        else:
            assert one.grad is None
    # Of the stem and the images nothing is kept.
    assert images.shape in kept[1] and images.shape not in kept[0] and len(kept[0]) < len(kept[1])


def test_frozen_stages_hold_their_adapters_as_well():
    model = build(frozen('resnet', conv_cfg=ADAPTED, frozen_stages=3))
    model.train()
    assert {key.split('.')[0] for key, one in model.named_parameters() if one.requires_grad} == {'layer4'}
    maps = model(torch.randn(1, 3, 64, 64))
    assert [one.requires_grad for one in maps] == [False, False, False, True]


def test_a_fine_tuned_file_gives_a_frozen_backbone_all_that_it_asks_for():
    """Adapters begin at 0 and need no file."""
    model = build(frozen('resnet', allow_random=False, conv_cfg=ADAPTED))
    model.init_weights()
    assert len(model.not_given) == 100
    model.load_state_dict(build(plain('resnet')).state_dict(), strict=False)
    assert not model.not_given
    model(torch.zeros(1, 3, 64, 64))
