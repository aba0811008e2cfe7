"""The steps of mmcv's own synchronised batch normalisation, ``MMSyncBN``, between which it sums over the processes.

Statistics and gradients by weight and bias are float32, whatever the features are.
"""

from torch import Tensor

__all__ = [
    'sync_bn_backward_data',
    'sync_bn_backward_param',
    'sync_bn_forward_mean',
    'sync_bn_forward_output',
    'sync_bn_forward_var',
]


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Mean of each channel of (N, C, S) features, in ``mean`` (C,)."""
    mean.copy_(input.float().mean((0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Mean square distance of each channel of (N, C, S) features from ``mean`` (C,), in ``var`` (C,)."""
    var.copy_((input.float() - mean[:, None]).square_().mean((0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    """Normalise, and move the running statistics.

    Args:
        input: (N, C, S) features.
        mean: (C,), over all processes.
        var: (C,), over all processes.
        weight: (C,), or None: 1.
        bias: (C,), or None: 0.
        running_mean: (C,), changed in place, or None.
        running_var: (C,), changed in place, or None: of all N * S * group_size numbers, without bias.
        norm: float32 (N, C, S), written in place: the features without mean and standard deviation.
        std: (C,), written in place: ``sqrt(var + eps)``.
        output: (N, C, S), written in place: ``norm * weight + bias``.
        eps: added to the variance.
        momentum: share of the new statistics in the running ones.
        group_size: processes.
    """
    std.copy_((var + eps).sqrt_())
    norm.copy_((input.float() - mean[:, None]) / std[:, None])
    output.copy_(norm if weight is None else norm * weight[:, None] + bias[:, None])
    if running_mean is not None:
        count = input.size(0) * input.size(2) * group_size
        unbiased = var * count / (count - 1) if count > 1 else var
        running_mean.copy_(momentum * mean + (1 - momentum) * running_mean)
        running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)


def sync_bn_backward_param(grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor) -> None:
    """Gradients by weight and bias from this process's (N, C, S) features, in (C,) ``grad_weight``, ``grad_bias``."""
    grad_output = grad_output.float()
    grad_weight.copy_((grad_output * norm).sum((0, 2)))
    grad_bias.copy_(grad_output.sum((0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Gradient by the features, in (N, C, S) ``grad_input``.

    ``grad_weight`` and ``grad_bias`` are the means over the processes of those of :func:`sync_bn_backward_param`.
    """
    factor = norm.size(0) * norm.size(2)
    common = (grad_weight[:, None] * norm + grad_bias[:, None]) / factor
    grad_input.copy_(weight[:, None] * (grad_output.float() - common) / std[:, None])
