"""Swish in place of ReLU, against formulas."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn


@pytest.fixture(autouse=True)
def scope():
    import rethink  # noqa: F401

    init_default_scope('mmdet')
    torch.manual_seed(0)


def swish(x):
    return x / (1 + torch.exp(-x))


NECK = dict(
    in_channels=[8, 16, 24, 32], out_channels=8, num_outs=5, start_level=1, stack_times=2, norm_cfg=dict(type='BN')
)
BOX_HEAD = dict(
    in_channels=4,
    conv_out_channels=4,
    fc_out_channels=6,
    roi_feat_size=3,
    num_classes=5,
    num_shared_convs=2,
    num_shared_fcs=2,
    norm_cfg=dict(type='BN'),
)


def test_of_a_box_head_convolutions_and_fully_connected_layers():
    head = MODELS.build(dict(type='WithSwish', of='ConvFCBBoxHead', **BOX_HEAD)).double().train()
    x = torch.randn(7, 4, 3, 3, dtype=torch.float64)
    scores, deltas = head(x)
    for conv in head.shared_convs:
        assert conv.conv.bias is None
        y = nn.functional.conv2d(x, conv.conv.weight, padding=1)
        mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        x = swish((y - mean) / (variance + 1e-5).sqrt())
    x = x.flatten(1)
    for layer in head.shared_fcs:
        x = swish(x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(scores, x @ head.fc_cls.weight.T + head.fc_cls.bias)
    torch.testing.assert_close(deltas, x @ head.fc_reg.weight.T + head.fc_reg.bias)


def test_of_a_nas_fpn_each_cell():
    neck = MODELS.build(dict(type='WithSwish', of='NASFPN', **NECK)).eval()
    plain = MODELS.build(dict(type='NASFPN', **NECK)).eval()
    assert neck.state_dict().keys() == plain.state_dict().keys()
    assert type(neck) is type(plain)
    plain.load_state_dict(neck.state_dict())
    levels = [torch.randn(1, c, s, s) for c, s in zip(NECK['in_channels'], (64, 32, 16, 8), strict=True)]
    assert [tuple(one.shape) for one in neck(levels)] == [(1, 8, s, s) for s in (32, 16, 8, 4, 2)]
    cells = [one for one in neck.modules() if isinstance(one, nn.SiLU)]
    assert len(cells) == 2 * 7 and not any(isinstance(one, nn.ReLU) for one in neck.modules())
    # A cell of each, on the same maps.
    cell, other = neck.fpn_stages[0]['sum_44_4'], plain.fpn_stages[0]['sum_44_4']
    a, b = torch.randn(2, 1, 8, 4, 4)
    conv = cell.out_conv.conv
    expected = cell.out_conv.norm(nn.functional.conv2d(swish(a + b), conv.weight, conv.bias, padding=1))
    torch.testing.assert_close(cell(a, b, out_size=(4, 4)), expected)
    assert not torch.allclose(other(a, b, out_size=(4, 4)), expected)


def test_what_has_no_relu_is_refused():
    with pytest.raises(ValueError, match='no nn.ReLU in FPN'):
        MODELS.build(dict(type='WithSwish', of='FPN', in_channels=[8, 8], out_channels=8, num_outs=2))
