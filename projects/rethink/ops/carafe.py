"""CARAFE, an upsampling whose kernel is predicted for every pixel."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from .precision import wide

__all__ = ['carafe_backward', 'carafe_forward', 'carafe_naive_backward', 'carafe_naive_forward']


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """CARAFE (Wang et al., 2019, equation 4): each pixel is a weighted sum of the square around its source.

    Args:
        features: (B, C, H, W).
        masks: (B, group_size * kernel_size**2, s * H, s * W), the weights.
        output: (B, C, s * H, s * W), written in place.
        kernel_size: side of the square, odd.
        group_size: groups of channels that have weights of their own.
        scale_factor: s.
    """
    features, weights, result = _grouped(features, masks, output, kernel_size, group_size, scale_factor)
    result = result.new_zeros(result.shape)
    for tap, source in _taps(features, kernel_size):
        result += source[..., None, :, None] * weights[:, :, None, tap]
    output.copy_(result.view(output.shape))


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Gradients of :func:`carafe_naive_forward` by the features and the weights.

    Args:
        top_grad: (B, C, s * H, s * W).
        features: (B, C, H, W).
        masks: as in the forward function.
        bottom_grad: (B, C, H, W), written in place.
        mask_grad: of the shape of ``masks``, written in place.
        kernel_size: as in the forward function, and so are the others.
        group_size: see there.
        scale_factor: see there.
    """
    shape = (kernel_size, group_size, scale_factor)
    features, weights, grad = _grouped(features, masks, top_grad, *shape)
    by_weights = weights.new_zeros(weights.shape)
    by_features = F.pad(features.new_zeros(features.shape), (kernel_size // 2,) * 4)
    sums = dict(_taps(by_features, kernel_size, padded=True))
    for tap, source in _taps(features, kernel_size):
        by_weights[:, :, tap] = (grad * source[..., None, :, None]).sum(2)
        sums[tap] += (grad * weights[:, :, None, tap]).sum((4, 6))
    mask_grad.copy_(by_weights.view(mask_grad.shape))
    bottom_grad.copy_(sums[kernel_size**2 // 2].reshape(bottom_grad.shape))


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """:func:`carafe_naive_forward`; ``rfeatures`` takes the features to the backward function."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """:func:`carafe_naive_backward` with what :func:`carafe_forward` left in ``rfeatures``; the rest is not used."""
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def _grouped(
    features: Tensor, masks: Tensor, large: Tensor, kernel: int, groups: int, scale: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, G, C / G, H, W), weights (B, G, taps, H, s, W, s) and ``large`` (B, G, C / G, H, s, W, s)."""
    features = wide(features)
    batch, channels, height, width = features.shape
    block = (height, scale, width, scale)
    return (
        features.view(batch, groups, channels // groups, height, width),
        masks.to(features.dtype).reshape(batch, groups, kernel**2, *block),
        large.to(features.dtype).reshape(batch, groups, channels // groups, *block),
    )


def _taps(features: Tensor, kernel: int, padded: bool = False) -> Iterator[tuple[int, Tensor]]:
    """Number of each tap of the kernel, and the features that it sees, 0 beyond the border."""
    if not padded:
        features = F.pad(features, (kernel // 2,) * 4)
    height, width = (side - kernel + 1 for side in features.shape[3:])
    for tap in range(kernel**2):
        row, column = divmod(tap, kernel)
        yield tap, features[..., row : row + height, column : column + width]
