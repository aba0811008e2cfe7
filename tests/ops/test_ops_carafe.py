"""CARAFE against plain loops, and its gradients against numerical ones."""

import numpy as np
import pytest
import torch
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
pytestmark = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed, which needs a GPU')


CASES = [(5, 1, 2), (3, 2, 3), (1, 4, 1), (3, 4, 1)]


def tensors(kernel, groups, scale, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 3, 4, generator=generator, dtype=torch.float64)
    masks = torch.randn(2, groups * kernel**2, 3 * scale, 4 * scale, generator=generator, dtype=torch.float64)
    return [t.to(dtype).requires_grad_() for t in (features, masks)]


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('op', ['carafe', 'carafe_naive'])
def test_carafe(op, case):
    kernel, groups, scale = case
    features, masks = (t.detach() for t in tensors(*case))
    expected = torch.zeros(2, 4, 3 * scale, 4 * scale, dtype=torch.float64)
    for b, c, row, column in np.ndindex(expected.shape):
        group = c // (4 // groups)
        for i, j in np.ndindex(kernel, kernel):
            y, x = row // scale + i - kernel // 2, column // scale + j - kernel // 2
            if 0 <= y < 3 and 0 <= x < 4:
                weight = masks[b, group * kernel**2 + i * kernel + j, row, column]
                expected[b, c, row, column] += features[b, c, y, x] * weight
    assert torch.allclose(getattr(mmcv_ops, op)(features, masks, *case), expected, atol=1e-12)


@pytest.mark.parametrize('case', CASES)
def test_carafe_gradients(case):
    assert torch.autograd.gradcheck(lambda x, m: mmcv_ops.carafe(x, m, *case), tensors(*case))


def test_carafe_in_half_precision_is_the_rounded_float32_one():
    half = tensors(3, 2, 2, torch.float16)
    wide = [t.detach().float().requires_grad_() for t in half]
    out, expected = mmcv_ops.carafe(*half, 3, 2, 2), mmcv_ops.carafe(*wide, 3, 2, 2)
    assert out.dtype == torch.float16 and torch.equal(out, expected.half())
    out.sum().backward()
    expected.sum().backward()
    for a, b in zip(half, wide, strict=True):
        assert torch.equal(a.grad, b.grad.half())


def test_mmcvs_upsampler_trains():
    module = mmcv_ops.CARAFEPack(8, 2)
    out = module(torch.randn(1, 8, 4, 4))
    assert out.shape == (1, 8, 8, 8)
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in module.parameters() if p.dim() > 1)
