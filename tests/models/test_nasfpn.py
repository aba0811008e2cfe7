"""NAS-FPN with bottleneck blocks, in float64 against the release's graph written out."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from torch.nn import functional as F


@pytest.fixture(scope='module')
def neck():
    register_all_modules()
    torch.manual_seed(0)
    cfg = dict(in_channels=[3, 4, 5], channels=6, stack_times=2, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'))
    neck = MODELS.build(dict(type='BottleneckNASFPN', **cfg))
    neck.init_weights()
    return neck.double().train()


def normalised(x):
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def swish(x):
    return x / (1 + torch.exp(-x))


def node(module, *inputs):
    """A node of maps that have its width and size: added up, and a bottleneck block."""
    x, block = swish(sum(inputs)), module.block
    y = swish(normalised(F.conv2d(x, block.conv1.weight)))
    y = swish(normalised(F.conv2d(y, block.conv2.weight, padding=1)))
    y = normalised(F.conv2d(y, block.conv3.weight))
    return swish(y + normalised(F.conv2d(x, block.downsample.conv.weight)))


def test_it_is_the_releases_graph(neck):
    maps = [torch.randn(2, c, s, s, dtype=torch.float64) for c, s in zip((3, 4, 5), (32, 16, 8), strict=True)]
    p3, p4, p5 = (
        normalised(F.conv2d(one, conv.conv.weight)) for one, conv in zip(maps, neck.lateral_convs, strict=True)
    )
    p6 = F.max_pool2d(p5, 2)
    p7 = F.max_pool2d(p6, 2)
    for nodes in neck.repeats:
        before = [p3, p4, p5, p6, p7]

        def at(module, place, one, step, nodes=nodes):
            """An input as the node adds it: narrow, and of its size."""
            if one.shape[1] != 6:
                one = normalised(F.conv2d(one, nodes[module].resample[place].conv.weight))
            if step > 0:
                return one.repeat_interleave(2**step, 2).repeat_interleave(2**step, 3)
            return F.max_pool2d(one, 2**-step) if step else one

        a = node(nodes[0], at(0, 0, before[1], 0), at(0, 1, before[3], 2))
        b = node(nodes[1], at(1, 0, before[1], 0), at(1, 1, a, 0))
        p3 = node(nodes[2], at(2, 0, before[0], 0), at(2, 1, b, 1))
        p4 = node(nodes[3], at(3, 0, b, 0), at(3, 1, p3, -1))
        # P5 and P7 of before, which nothing else takes, are added where an output has their level.
        p5 = node(nodes[4], at(4, 0, p3, -2), at(4, 1, p4, -1), at(4, 2, before[2], 0))
        p7 = node(nodes[5], at(5, 0, b, -3), at(5, 1, p5, -2), at(5, 2, before[4], 0))
        p6 = node(nodes[6], at(6, 0, p5, -1), at(6, 1, p7, 1))
    found = neck(maps)
    assert [tuple(one.shape) for one in found] == [(2, 24, size, size) for size in (32, 16, 8, 4, 2)]
    for one, expected in zip(found, (p3, p4, p5, p6, p7), strict=True):
        torch.testing.assert_close(one, expected)


def test_maps_that_are_not_divisible_keep_their_sizes(neck):
    maps = [
        torch.randn(1, c, *s, dtype=torch.float64)
        for c, s in zip((3, 4, 5), ((20, 26), (10, 13), (5, 7)), strict=True)
    ]
    assert [tuple(one.shape[2:]) for one in neck(maps)] == [(20, 26), (10, 13), (5, 7), (3, 4), (2, 2)]


def test_it_takes_three_maps():
    with pytest.raises(ValueError, match='three strides, 8, 16 and 32, not 4'):
        MODELS.build(
            dict(type='BottleneckNASFPN', in_channels=[1] * 4, channels=2, stack_times=1, norm_cfg={}, act_cfg={})
        )
