"""Multi-scale deformable attention, through the form that mmcv has in PyTorch and uses on a CPU itself."""

import torch
from torch import Tensor

from .precision import wide

__all__ = ['ms_deform_attn_backward', 'ms_deform_attn_forward']


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., Deformable DETR, 2021, equation 3).

    mmcv calls it on a GPU. It waits for the GPU once, for the shapes, and holds all samples at once, of size
    (B * M, D, Q, L * P).

    Args:
        value: (B, K, M, D): K pixels of all levels, M heads, D channels of each.
        value_spatial_shapes: int64 (L, 2), ``(height, width)`` of each level.
        value_level_start_index: not used: the levels follow each other.
        sampling_locations: (B, Q, M, L, P, 2), ``(x, y)``, 0 to 1 over a level. A sample whose location is not finite
            is 0.
        attention_weights: (B, Q, M, L, P).
        im2col_step: not used.

    Returns:
        (B, Q, M * D), in the dtype of ``value``.
    """
    tensors = _wide_three(value, sampling_locations, attention_weights)
    return _attend(*tensors, value_spatial_shapes.tolist()).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Gradients of :func:`ms_deform_attn_forward`, which is repeated, in the three ``grad_*`` tensors."""
    shapes = value_spatial_shapes.tolist()
    with torch.enable_grad():
        leaves = [
            tensor.detach().requires_grad_() for tensor in _wide_three(value, sampling_locations, attention_weights)
        ]
        grads = torch.autograd.grad(_attend(*leaves, shapes), leaves, grad_output.to(leaves[0].dtype))
    # As in a deformable convolution: mmcv's kernel takes no derivative of a sample exactly one pixel outside.
    height, width = leaves[0].new_tensor(shapes)[:, None].unbind(-1)
    x, y = leaves[1].detach().unbind(-1)
    x, y = x * width - 0.5, y * height - 0.5
    outside = (x <= -1) | (y <= -1) | (x >= width) | (y >= height)
    grad_value.copy_(grads[0])
    grad_sampling_loc.copy_(grads[1].masked_fill(outside.unsqueeze(-1), 0))
    grad_attn_weight.copy_(grads[2])


def _wide_three(value: Tensor, locations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value = wide(value)
    locations = locations.to(value.dtype)
    # 2 is outside every level.
    locations = locations.masked_fill(~(locations.abs() < 2.0**20), 2)
    return value, locations, weights.to(value.dtype)


def _attend(value: Tensor, locations: Tensor, weights: Tensor, shapes: list[list[int]]) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch  # which imports this package

    return multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
