"""Focal losses."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import wide

__all__ = [
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss (Lin et al., 2017, equation 5) of every logit: ``-alpha_t * (1 - p_t)**gamma * log(p_t)``.

    Args:
        input: (N, C) logits.
        target: int64 (N,): the class, or C for background (any number outside ``0..C-1`` is background).
        weight: (C,) factors by the class of the row, 1 for background rows; or empty: no weights.
        output: (N, C), written in place.
        gamma: focusing parameter.
        alpha: weight of the logit of the row's class; the others weigh ``1 - alpha``.
    """

    def loss(x):  # of a logit that should be low
        return x.sigmoid().pow_(gamma).mul_(F.logsigmoid(-x)).neg_()

    _sigmoid_focal(input, target, weight, output, loss, 1 - alpha, alpha)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of each loss of :func:`sigmoid_focal_loss_forward` with respect to its logit.

    Args:
        input: (N, C) logits.
        target: int64 (N,), as in the forward function.
        weight: (C,) or empty, as in the forward function.
        grad_input: (N, C), written in place.
        gamma: focusing parameter.
        alpha: as in the forward function.
    """

    def slope(x):  # of the loss of a logit that should be low: p^gamma (p - gamma (1 - p) log(1 - p))
        p = x.sigmoid()
        return (-x).sigmoid_().mul_(F.logsigmoid(-x)).mul_(-gamma).add_(p).mul_(p.pow_(gamma))

    # The loss of the row's class is that of minus its logit, whose slope has the other sign.
    _sigmoid_focal(input, target, weight, grad_input, slope, 1 - alpha, -alpha)


def _sigmoid_focal(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    curve: Callable[[Tensor], Tensor],
    others: float,
    own: float,
) -> None:
    """Write ``own * curve(-x)`` for the logit of each row's class and ``others * curve(x)`` for all others.

    The first is worked out for N logits, not N * C: dense detectors have millions of them.
    """
    if not input.numel():
        return
    logits = wide(input)
    classes = logits.size(1)
    values = curve(logits).mul_(others)
    column = target.clamp(0, classes - 1)[:, None]
    inside = ((target >= 0) & (target < classes))[:, None]
    hit = curve(-logits.gather(1, column)).mul_(own)
    values.scatter_(1, column, torch.where(inside, hit, values.gather(1, column)))
    if weight.numel():
        values.mul_(torch.where(inside, weight.to(values)[column], 1))
    output.copy_(values)


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of rows of probabilities: ``-alpha * (1 - p)**gamma * log(p)`` with ``p`` that of the row's class.

    Args:
        input: (N, C) probabilities (mmcv takes the softmax before).
        target: int64 (N,): the class; a row with any other number has no loss.
        weight: (C,) factors by class, or empty.
        output: (N,), written in place.
        gamma: focusing parameter.
        alpha: factor of the loss.
    """
    if not input.numel():
        return
    p, factor = _of_class(input, target, weight)[1:]
    log_p = p.clamp(min=torch.finfo(torch.float32).tiny).log_()
    output.copy_((1 - p).pow_(gamma).mul_(log_p).mul_(factor).mul_(-alpha))


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of each loss of :func:`softmax_focal_loss_forward` with respect to the logits of its row.

    Args:
        input: (N, C) probabilities, as in the forward function.
        target: int64 (N,), as in the forward function.
        weight: (C,) or empty, as in the forward function.
        buff: (N,), work space that is not used.
        grad_input: (N, C), written in place.
        gamma: focusing parameter.
        alpha: factor of the loss.
    """
    if not input.numel():
        return
    column, p, factor = _of_class(input, target, weight)
    q = 1 - p
    # p log(p) / (1 - p) tends to -1 where p reaches 1.
    ratio = torch.where(q > 0, p * p.clamp(min=torch.finfo(torch.float32).tiny).log() / q, -1)
    slope = q.pow(gamma).mul_(ratio.mul_(gamma).sub_(1)).mul_(factor).mul_(alpha)[:, None]
    grad = -slope * wide(input)
    grad_input.copy_(grad.scatter_add_(1, column, slope))


def _of_class(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column (N, 1) of each row's class, its probability (N,), and the row's factor (N,): 0 where it has no class."""
    probabilities = wide(input)
    inside = (target >= 0) & (target < input.size(1))
    column = target.clamp(0, input.size(1) - 1)[:, None]
    factor = inside.to(probabilities.dtype)
    if weight.numel():
        factor = factor * weight.to(probabilities)[column[:, 0]]
    return column, probabilities.gather(1, column)[:, 0], factor
