"""BN by parts of a batch against BN of each part."""

import copy

import pytest
import torch
from mmcv.cnn import build_norm_layer
from mmengine.registry import MODELS
from torch import nn


@pytest.fixture
def layer():
    torch.manual_seed(0)
    name, layer = build_norm_layer(dict(type='SplitBN', groups=3), 4, postfix=1)
    assert name == 'bn1'
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2)
        layer.bias.uniform_(-1, 1)
    return layer


def plain(layer) -> nn.BatchNorm2d:
    other = nn.BatchNorm2d(layer.num_features)
    other.load_state_dict(layer.state_dict())
    return other


def test_outputs_gradients_and_statistics_are_those_of_each_part(layer):
    images = torch.randn(6, 4, 5, 5, requires_grad=True)
    parts = [copy.deepcopy(plain(layer)) for _ in range(3)]
    wanted = torch.cat([one(part) for one, part in zip(parts, images.chunk(3), strict=True)])
    direction = torch.randn_like(wanted)
    (by_images,) = torch.autograd.grad((wanted * direction).sum(), images, retain_graph=True)
    (wanted * direction).sum().backward()

    again = images.detach().requires_grad_()
    found = layer(again)
    (found * direction).sum().backward()
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(again.grad, by_images)
    torch.testing.assert_close(layer.weight.grad, sum(one.weight.grad for one in parts))
    for name in ('running_mean', 'running_var'):
        mean = torch.stack([getattr(one, name) for one in parts]).mean(0)
        torch.testing.assert_close(getattr(layer, name), mean)
    assert layer.num_batches_tracked == 1
    # A plain BN of the whole batch is something else.
    assert (plain(layer)(images) - found).abs().max() > 0.01


def test_evaluation_is_that_of_bn(layer):
    layer(torch.randn(6, 4, 5, 5))
    images = torch.randn(5, 4, 3, 3)
    assert torch.equal(layer.eval()(images), plain(layer).eval()(images))


def test_unequal_parts_are_refused(layer):
    with pytest.raises(ValueError, match='batch of 5 images into 3 equal groups; set train_dataloader'):
        layer(torch.randn(5, 4, 2, 2))


# --- of a whole backbone ---------------------------------------------------------------------------------------------


def test_a_backbone_with_split_bn_is_one_whose_norm_cfg_says_so():
    """Outputs, gradients and statistics, in training and in evaluation."""
    same = dict(depth=18, base_channels=4, stem_channels=4)
    torch.manual_seed(0)
    wanted = MODELS.build(dict(type='mmpretrain.ResNet', norm_cfg=dict(type='SplitBN', groups=3), **same))
    found = MODELS.build(dict(type='WithSplitBN', of='mmpretrain.ResNet', groups=3, **same))
    found.load_state_dict(wanted.state_dict())
    found = copy.deepcopy(found)  # as MoCo makes the encoder of its keys
    images = torch.randn(6, 3, 32, 32)
    for one in (wanted, found):
        one.train()
        one(images)[0].square().sum().backward()
    for (name, mine), theirs in zip(found.named_parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=name)
    for (name, mine), theirs in zip(found.named_buffers(), wanted.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, msg=name)
    for one in (wanted, found):
        one.train(False)
    torch.testing.assert_close(found(images)[0], wanted(images)[0])


def test_the_activation_of_timms_bn_stays():
    cfg = dict(model_name='tf_mobilenetv3_small_minimal_100', features_only=True, out_indices=(4,))
    torch.manual_seed(0)
    plain = MODELS.build(dict(type='mmpretrain.TIMMBackbone', **cfg))
    split = MODELS.build(dict(type='WithSplitBN', of='mmpretrain.TIMMBackbone', groups=2, **cfg))
    split.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, 64, 64)
    parts = torch.cat([plain(part)[0] for part in images.chunk(2)])
    torch.testing.assert_close(split(images)[0], parts)
