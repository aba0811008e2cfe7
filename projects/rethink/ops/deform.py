"""Deformable convolutions."""

import torch
from torch import Tensor

from .precision import wide

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
]


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Deformable convolution (Dai et al., 2017).

    Args:
        input: (B, C, H, W).
        weight: (O, C / group, kH, kW).
        offset: (B, 2 * deformable_group * kH * kW, H', W'), ``(dy, dx)`` of each sample in feature pixels.
        output: (B, O, H', W'), written in place.
        columns: work space that is not used.
        ones: work space that is not used.
        kW: not used, ``weight`` has it, and so has kH.
        kH: see there.
        dW: stride along a row; dH: along a column.
        dH: see there.
        padW: padding left and right; padH: above and below.
        padH: see there.
        dilationW: dilation along a row; dilationH: along a column.
        dilationH: see there.
        group: groups of channels that are convolved apart.
        deformable_group: groups of channels that are sampled apart.
        im2col_step: not used.
    """
    shape = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(torch.ops.torchvision.deform_conv2d(*_sampled(input, weight, offset), *shape, False))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Gradients of :func:`deform_conv_forward` by its input and offsets, in ``gradInput`` and ``gradOffset``."""
    shape = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    tensors = _sampled(input, weight, offset)
    grads = torch.ops.torchvision._deform_conv2d_backward(gradOutput.to(tensors[0]), *tensors, *shape, False)
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Gradient of :func:`deform_conv_forward` by its weight, times ``scale``, in ``gradWeight``."""
    shape = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    # The gradient by the weight does not depend on the weight.
    tensors = _sampled(input, torch.zeros_like(gradWeight), offset)
    grads = torch.ops.torchvision._deform_conv2d_backward(gradOutput.to(tensors[0]), *tensors, *shape, False)
    gradWeight.copy_(grads[1] * scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Modulated deformable convolution (Zhu et al., 2019): :func:`deform_conv_forward` with a factor on each sample.

    Args:
        input: (B, C, H, W).
        weight: (O, C / group, kernel_h, kernel_w).
        bias: (O,), read when ``with_bias``.
        ones: work space that is not used.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, H', W'), ``(dy, dx)`` of each sample in feature pixels.
        mask: (B, deformable_group * kernel_h * kernel_w, H', W'), the factors.
        output: (B, O, H', W'), written in place.
        columns: work space that is not used.
        kernel_h: not used, ``weight`` has it, and so has kernel_w.
        kernel_w: see there.
        stride_h: stride along a column, as every name in ``_h`` from here; ``_w``: along a row.
        stride_w: see there.
        pad_h: padding.
        pad_w: padding.
        dilation_h: dilation.
        dilation_w: dilation.
        group: groups of channels that are convolved apart.
        deformable_group: groups of channels that are sampled apart.
        with_bias: whether there is a bias.
    """
    shape = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    tensors = _sampled(input, weight, offset, mask, bias if with_bias else None)
    output.copy_(torch.ops.torchvision.deform_conv2d(*tensors, *shape, True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, in the five ``grad_*`` tensors."""
    shape = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    tensors = _sampled(input, weight, offset, mask, bias if with_bias else None)
    grads = torch.ops.torchvision._deform_conv2d_backward(grad_output.to(tensors[0]), *tensors, *shape, True)
    outputs = (grad_input, grad_weight, grad_offset, grad_mask, *([grad_bias] if with_bias else []))
    for output, grad in zip(outputs, grads, strict=False):
        output.copy_(grad)


def _sampled(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The tensors of torchvision's op, all in the dtype that is computed in; an absent bias is zero."""
    input = wide(input)
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    return input, weight.to(input), offset.to(input), mask.to(input), bias.to(input)
