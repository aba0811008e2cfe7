"""Deformable convolutions.

torchvision's op reads outside its tensors where an offset is NaN, and takes the one-sided derivative by an offset
whose sample lies exactly one pixel outside the features. To mmcv both samples are 0, and so they are here.
"""

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

FAR = 2.0**24
"""An offset, in feature pixels, that leads out of every feature map; float32 and int32 hold it exactly."""


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
        offset: (B, 2 * deformable_group * kH * kW, H', W'), ``(dy, dx)`` of each sample in feature pixels. A sample
            whose offset is not finite is 0.
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

    Raises:
        ValueError: the offsets are not of the shape above.
    """
    shape = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    tensors = _plain(input, weight, offset, output.shape[2:], deformable_group)
    output.copy_(torch.ops.torchvision.deform_conv2d(*tensors, *shape, False))


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
    tensors = _plain(input, weight, offset, gradOutput.shape[2:], deformable_group)
    grads = torch.ops.torchvision._deform_conv2d_backward(gradOutput.to(tensors[0].dtype), *tensors, *shape, False)
    gradInput.copy_(grads[0])
    gradOffset.copy_(_inside(grads[2], tensors, shape))


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
    tensors = _plain(input, torch.zeros_like(gradWeight), offset, gradOutput.shape[2:], deformable_group)
    grads = torch.ops.torchvision._deform_conv2d_backward(gradOutput.to(tensors[0].dtype), *tensors, *shape, False)
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

    Offsets and masks may be larger than the output, as DyHead's are: mmcv takes the first numbers of each image, in
    the order in which they lie in memory, for an offset and a mask of the output's size.

    Args:
        input: (B, C, H, W).
        weight: (O, C / group, kernel_h, kernel_w).
        bias: (O,), read when ``with_bias``.
        ones: work space that is not used.
        offset: (B, 2 * deformable_group * kernel_h * kernel_w, H', W') or more for each image, ``(dy, dx)`` of each
            sample in feature pixels. A sample whose offset is not finite is 0.
        mask: (B, deformable_group * kernel_h * kernel_w, H', W') or more for each image, the factors.
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

    Raises:
        ValueError: there are fewer offsets or factors than samples.
    """
    shape = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    tensors = _modulated(input, weight, offset, mask, bias if with_bias else None, output.shape[2:], deformable_group)
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
    """Gradients of :func:`modulated_deform_conv_forward`, in the five ``grad_*`` tensors.

    Those by offsets and factors that were not read stay as they are.
    """
    shape = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    tensors = _modulated(
        input, weight, offset, mask, bias if with_bias else None, grad_output.shape[2:], deformable_group
    )
    grads = torch.ops.torchvision._deform_conv2d_backward(grad_output.to(tensors[0].dtype), *tensors, *shape, True)
    grad_input.copy_(grads[0])
    grad_weight.copy_(grads[1])
    _write_first(grad_offset, _inside(grads[2], tensors, shape))
    _write_first(grad_mask, grads[3])
    if with_bias:
        grad_bias.copy_(grads[4])


Tensors = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""What torchvision's op takes: input, weight, offset, mask and bias, all in the dtype that is computed in."""


def _plain(input: Tensor, weight: Tensor, offset: Tensor, size: torch.Size, deformable_group: int) -> Tensors:
    expected = (len(input), 2 * _samples(weight, deformable_group), *size)
    if tuple(offset.shape) != expected:
        raise ValueError(
            f'The offset of deform_conv2d is {tuple(offset.shape)}, and this convolution needs {expected}.'
        )
    input = wide(input)
    return (
        input,
        weight.to(input.dtype),
        _within_reach(offset.to(input.dtype)),
        input.new_zeros(len(input), 1),
        input.new_zeros(len(weight)),
    )


def _modulated(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    size: torch.Size,
    deformable_group: int,
) -> Tensors:
    input = wide(input)
    samples = _samples(weight, deformable_group)
    offset = _read_first('offset', offset, (len(input), 2 * samples, *size))
    mask = _read_first('mask', mask, (len(input), samples, *size))
    bias = input.new_zeros(len(weight)) if bias is None else bias.to(input.dtype)
    return input, weight.to(input.dtype), _within_reach(offset.to(input.dtype)), mask.to(input.dtype), bias


def _samples(weight: Tensor, deformable_group: int) -> int:
    """Samples for each number of one output channel."""
    if deformable_group < 1:
        raise ValueError(f'A deformable convolution has {deformable_group} deformable groups; use 1 or more.')
    return deformable_group * weight.size(2) * weight.size(3)


def _within_reach(offset: Tensor) -> Tensor:
    """Offsets in which those that are NaN or enormous lead out of the features, where every sample is 0."""
    return offset.masked_fill(~(offset.abs() < FAR), FAR)


def _read_first(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The first numbers of each image of ``tensor`` in ``shape``."""
    if tuple(tensor.shape) == shape:
        return tensor
    flat = tensor.reshape(len(tensor), -1)
    count = shape[1] * shape[2] * shape[3]
    if len(flat) < shape[0] or flat.size(1) < count:
        raise ValueError(
            f'The {name} of modulated_deform_conv2d is {tuple(tensor.shape)}, and this convolution needs {shape} or '
            'more.'
        )
    return flat[: shape[0], :count].reshape(shape)


def _write_first(tensor: Tensor, numbers: Tensor) -> None:
    """Write ``numbers`` where :func:`_read_first` read."""
    if tensor.shape == numbers.shape:
        tensor.copy_(numbers)
        return
    flat = tensor.reshape(len(tensor), -1).clone()
    numbers = numbers.flatten(1)
    flat[: len(numbers), : numbers.size(1)] = numbers
    tensor.copy_(flat.view(tensor.shape))


def _inside(grad_offset: Tensor, tensors: Tensors, shape: tuple[int, ...]) -> Tensor:
    """Gradients by offsets, 0 for samples at or beyond the first row or column outside the features."""
    input, weight, offset = tensors[:3]
    stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, _, groups = shape
    batch, _, out_h, out_w = offset.shape
    kernel_h, kernel_w = weight.shape[2:]

    def grid(count, kernel, stride, pad, dilation):  # (kernel, count): where the samples are without an offset
        out, tap = (torch.arange(n, device=offset.device) for n in (count, kernel))
        return (out * stride - pad + tap[:, None] * dilation).to(offset.dtype)

    dy, dx = offset.view(batch, groups, kernel_h, kernel_w, 2, out_h, out_w).unbind(4)
    y = dy + grid(out_h, kernel_h, stride_h, pad_h, dilation_h)[:, None, :, None]
    x = dx + grid(out_w, kernel_w, stride_w, pad_w, dilation_w)[:, None, :]
    outside = (y <= -1) | (y >= input.size(2)) | (x <= -1) | (x >= input.size(3))
    grads = grad_offset.view(batch, groups, kernel_h, kernel_w, 2, out_h, out_w)
    return grads.masked_fill(outside.unsqueeze(4), 0).view(offset.shape)
