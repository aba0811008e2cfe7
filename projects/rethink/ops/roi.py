"""RoIAlign."""

import torch
from torch import Tensor

from .errors import HOW_TO_COMPILE
from .precision import wide

__all__ = ['roi_align_backward', 'roi_align_forward']


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al., Mask R-CNN, section 3): the mean of bilinear samples in each bin of each RoI.

    Args:
        input: (B, C, H, W) features.
        rois: (R, 5), in image pixels.
        output: (R, C, aligned_height, aligned_width), written in place.
        argmax_y: not used (max pooling only).
        argmax_x: not used (max pooling only).
        aligned_height: bins per column.
        aligned_width: bins per row.
        spatial_scale: feature pixels per image pixel.
        sampling_ratio: samples per bin and direction; 0: as many as the bin is wide in feature pixels, rounded up.
        pool_mode: 1, the mean; 0, the maximum, is not provided.
        aligned: True: pixel centres are at half coordinates; False: at whole ones, and RoIs are at least one feature
            pixel wide.

    Raises:
        NotImplementedError: max pooling is asked for.
    """
    _only_mean(pool_mode)
    features = wide(input)
    output.copy_(
        torch.ops.torchvision.roi_align(
            features, rois.to(features), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
    )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to the features.

    Args:
        grad_output: (R, C, aligned_height, aligned_width).
        rois: (R, 5), in image pixels; they get no gradient.
        argmax_y: not used (max pooling only).
        argmax_x: not used (max pooling only).
        grad_input: (B, C, H, W), written in place.
        aligned_height: as in the forward function, and so are all others.
        aligned_width: see there.
        spatial_scale: see there.
        sampling_ratio: see there.
        pool_mode: see there.
        aligned: see there.

    Raises:
        NotImplementedError: max pooling is asked for.
    """
    _only_mean(pool_mode)
    grad = wide(grad_output)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad,
            rois.to(grad),
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _only_mean(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "roi_align with pool_mode='max' is not among the ops that rethink.ops provides over torchvision; use "
            f"pool_mode='avg', or {HOW_TO_COMPILE}."
        )
