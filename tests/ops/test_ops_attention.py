"""Multi-scale deformable attention, as mmcv calls it on a GPU, against plain loops in float64."""

import math

import numpy as np
import pytest
import torch
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
pytestmark = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed, which needs a GPU')


SHAPES = torch.tensor([[4, 5], [2, 3]])


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    value, locations, weights = rand(2, 26, 2, 3), rand(2, 4, 2, 2, 3, 2) * 1.4 - 0.2, rand(2, 4, 2, 2, 3)
    return [t.to(dtype).requires_grad_() for t in (value, locations, weights)]


def attend(value, locations, weights):
    return mmcv_ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
        value, SHAPES, torch.tensor([0, 20]), locations, weights, 64
    )


def reference(value, locations, weights):
    out = torch.zeros(2, 4, 2, 3, dtype=torch.float64)
    for b, q, m, level, p in np.ndindex(locations.shape[:5]):
        height, width = SHAPES[level].tolist()
        image = value[b, :20, m] if level == 0 else value[b, 20:, m]
        image = image.view(height, width, 3)
        x, y = (locations[b, q, m, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        if not (x > -1 and y > -1 and x < width and y < height):
            continue
        for i, j in np.ndindex(2, 2):
            row, column = math.floor(y) + i, math.floor(x) + j
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(y - row)) * (1 - abs(x - column)) * weights[b, q, m, level, p]
                out[b, q, m] += share * image[row, column]
    return out.flatten(2)


def test_attention():
    with torch.no_grad():
        assert torch.allclose(attend(*tensors()), reference(*tensors()), atol=1e-12)


def test_attention_gradients():
    assert torch.autograd.gradcheck(attend, tensors())


def test_a_location_that_is_not_finite_is_a_sample_of_zero():
    value, locations, weights = (t.detach() for t in tensors())
    locations[0, 1, 0, 0, 1, 0], locations[1, 2, 1, 1, 0] = math.nan, math.inf
    leaves = [t.requires_grad_() for t in (value, locations, weights)]
    out = attend(*leaves)
    assert torch.allclose(out, reference(*(t.detach() for t in leaves)), atol=1e-12)
    out.sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    assert not locations.grad[0, 1, 0, 0, 1].any() and not locations.grad[1, 2, 1, 1, 0].any()
    assert weights.grad[0, 1, 0, 0, 1] == 0


def test_the_gradient_by_a_location_exactly_outside_is_zero():
    value, _, weights = tensors()
    # The row above the first of a level that is 4 high has its centre at -1/8, exactly.
    locations = torch.full((2, 4, 2, 2, 3, 2), 0.45, dtype=torch.float64)
    locations[..., 0, :, 1] = -0.125
    locations.requires_grad_()
    attend(value, locations, weights).sum().backward()
    assert not locations.grad[..., 0, :, :].any() and locations.grad[..., 1, :, :].any()


def test_attention_in_half_precision_is_the_rounded_float32_one():
    half, wide = tensors(torch.float16), [t.detach().half().float().requires_grad_() for t in tensors()]
    out, expected = attend(*half), attend(*wide)
    assert out.dtype == torch.float16 and torch.equal(out, expected.half())
    out.sum().backward()
    expected.sum().backward()
    for a, b in zip(half, wide, strict=True):
        assert a.grad.dtype == torch.float16 and torch.equal(a.grad, b.grad.half())


def test_mmcvs_module_gives_the_same_with_the_op_and_without(monkeypatch):
    module = mmcv_ops.MultiScaleDeformableAttention(embed_dims=8, num_heads=2, num_levels=2, num_points=3)
    torch.nn.init.normal_(module.sampling_offsets.weight)
    module.eval()
    query, value = torch.randn(5, 1, 8), torch.randn(26, 1, 8)
    arguments = dict(
        value=value,
        reference_points=torch.rand(1, 5, 2, 2),
        spatial_shapes=SHAPES,
        level_start_index=torch.tensor([0, 20]),
    )
    expected = module(query, **arguments)
    form = mmcv_ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch

    def through_the_op(value, shapes, locations, weights):
        if isinstance(shapes, list):  # the op's own call
            return form(value, shapes, locations, weights)
        return ops.ms_deform_attn_forward(value, shapes, torch.tensor([0, 20]), locations, weights, 64)

    monkeypatch.setattr(mmcv_ops.multi_scale_deform_attn, form.__name__, through_the_op)
    assert torch.allclose(module(query, **arguments), expected, atol=1e-6)
