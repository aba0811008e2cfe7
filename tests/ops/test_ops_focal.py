"""Focal losses against autograd in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
over_torchvision = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed')
over_compiled = pytest.mark.skipif(ops.provided() != 'compiled', reason='compiled mmcv is not installed')


def reference_sigmoid_focal(logits, target, gamma, alpha, weight=None):
    """Equation 5 of the paper with plain autograd operations."""
    one_hot = F.one_hot(target, logits.size(1) + 1)[:, :-1].to(logits)
    p = torch.sigmoid(logits)
    p_t = torch.where(one_hot == 1, p, 1 - p)
    alpha_t = one_hot * alpha + (1 - one_hot) * (1 - alpha)
    loss = -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)
    if weight is not None:
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    return loss


TARGET = torch.tensor([0, 4, 2, 5, 1, 5, 3, 0])  # of five classes: 5 is background


def logits_of(dtype=torch.float64):
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).to(dtype)


def class_weights():
    return torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25], dtype=torch.float64)


@over_torchvision  # compiled mmcv has no focal loss on the CPU
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5)])
def test_sigmoid_focal_loss(gamma, alpha, weighted, reduction):
    weight = class_weights() if weighted else None
    logits, reference = logits_of().requires_grad_(), logits_of().requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(logits, TARGET, gamma, alpha, weight, reduction)
    expected = reference_sigmoid_focal(reference, TARGET, gamma, alpha, weight)
    # mmcv's mean is over the rows
    expected = {'none': expected, 'mean': expected.sum() / 8, 'sum': expected.sum()}[reduction]
    assert torch.allclose(loss, expected, rtol=1e-10)
    factor = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss.backward(factor)
    expected.backward(factor)
    assert torch.allclose(logits.grad, reference.grad, rtol=1e-9)


@over_torchvision
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_sigmoid_focal_loss_gradient(gamma):
    logits = logits_of().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: mmcv_ops.sigmoid_focal_loss(x, TARGET, gamma, 0.25, class_weights(), 'none'), logits
    )


@over_torchvision
def test_sigmoid_focal_loss_of_extreme_logits():
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, 0.0]]).requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, 'none')
    # Wrong by 200: the loss is alpha_t * 200; right by 200: none.
    assert torch.allclose(loss, torch.tensor([[150.0, 50.0, 150.0, 0.0, 0.75 * 0.25 * math.log(2)]]))
    loss.sum().backward()
    assert torch.allclose(logits.grad[0, :4], torch.tensor([0.75, -0.25, 0.75, 0.0]))


@over_torchvision
@pytest.mark.parametrize('op', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_focal_losses_of_no_rows(op):
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = getattr(mmcv_ops, op)(logits, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss == 0 and logits.grad.shape == (0, 5)


@over_torchvision
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_sigmoid_focal_loss_in_half_precision_is_the_rounded_float32_one(dtype):
    half, wide = logits_of(dtype).requires_grad_(), logits_of(dtype).float().requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(half, TARGET, 2.0, 0.25, None, 'none')
    expected = mmcv_ops.sigmoid_focal_loss(wide, TARGET, 2.0, 0.25, None, 'none')
    assert loss.dtype == dtype and torch.equal(loss, expected.to(dtype))
    loss.backward(torch.ones_like(loss))
    expected.backward(torch.ones_like(expected))
    assert half.grad.dtype == dtype and torch.equal(half.grad, wide.grad.to(dtype))


@over_torchvision
def test_mmdet_focal_loss_on_cpu_and_mmcv_op_agree():
    losses = pytest.importorskip('mmdet.models.losses')
    loss = losses.FocalLoss(use_sigmoid=True, gamma=2.0, alpha=0.25, reduction='sum')
    logits = logits_of(torch.float32)
    op = mmcv_ops.sigmoid_focal_loss(logits, TARGET, 2.0, 0.25, None, 'sum')
    assert torch.allclose(loss(logits, TARGET), op)


@over_torchvision
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss(gamma, weighted):
    target = torch.tensor([0, 4, 2, 3, 1, 1, 3, 0])
    weight = class_weights() if weighted else None
    logits, reference = logits_of().requires_grad_(), logits_of().requires_grad_()
    loss = mmcv_ops.softmax_focal_loss(logits, target, gamma, 0.25, weight, 'sum')
    p = reference.softmax(1)[torch.arange(8), target]
    expected = (-0.25 * (1 - p) ** gamma * p.log() * (weight[target] if weighted else 1)).sum()
    assert torch.allclose(loss, expected, rtol=1e-10)
    loss.backward()
    expected.backward()
    assert torch.allclose(logits.grad, reference.grad, rtol=1e-9)


@over_torchvision
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss_of_a_certain_row_has_a_finite_gradient(gamma):
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]], requires_grad=True)
    mmcv_ops.softmax_focal_loss(logits, torch.tensor([0, 1]), gamma, 0.25, None, 'sum').backward()
    assert torch.allclose(logits.grad, torch.zeros(2, 2), atol=1e-6)
