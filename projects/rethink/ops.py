"""The mmcv ops that detectors need, over torchvision, for an mmcv without compiled ones.

mmcv's Python side (:mod:`mmcv.ops`) calls a compiled module, ``mmcv._ext``, which PyPI does not carry for any recent
PyTorch. :func:`install` provides a module of that name whose functions call torchvision and torch: mmcv, mmdet and
mmpretrain then import and run unchanged. A compiled extension that loads is used and left alone.

Each op below has the name, the arguments and the in-place outputs of its namesake in mmcv's
``ops/csrc/pytorch/pybind.cpp``. Common to all:

* boxes are ``(x1, y1, x2, y2)`` in pixels, RoIs are ``(index of the image in the batch, x1, y1, x2, y2)``;
* results are on the device of the inputs, in the dtype of the tensor that mmcv passes for them;
* float16 and bfloat16 are computed in float32 and rounded once, at the end, autocast or not; float64 in float64.

What differs from compiled mmcv is listed in ``docs/ops.md``.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['OPS', 'install', 'provided']

EXT = 'mmcv._ext'
HOW_TO_COMPILE = (
    'install compiled mmcv for it with `pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    'onedl-mmcv`, beside torch and with a compiler (docs/ops.md)'
)


def _wide(tensor: Tensor) -> Tensor:
    """The tensor in the dtype that is computed in: float64 stays, everything else becomes float32."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


# --- Boxes ---


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression: a box goes when its IoU with a better kept one is above the threshold.

    Args:
        boxes: (N, 4), floating point.
        scores: (N,).
        iou_threshold: compared in float32, as mmcv does.
        offset: a box is ``x2 - x1 + offset`` wide; 1 is the convention of MMDetection 1.x.

    Returns:
        int64 (K,): the kept boxes, best first.
    """
    boxes, scores = _wide(boxes), _wide(scores)
    if offset:
        # A box whose last pixel is x2 ends at x2 + 1.
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # mmcv's threshold is a float; torchvision's, a double, would part from it where an IoU equals the threshold.
    return torch.ops.torchvision.nms(boxes, scores.to(boxes.dtype), float(np.float32(iou_threshold)))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017): overlapping boxes lose score instead of being dropped.

    Picks the best box, multiplies the scores of all others by a weight that depends on their IoU with it, drops those
    that fall below ``min_score``, and repeats. The first pick is kept whatever its score, as in mmcv.

    Args:
        boxes: (N, 4) on the CPU (mmcv moves them there).
        scores: (N,) on the CPU.
        dets: (N, 5), written in place: row ``i`` is the ``i``-th pick with the score it had then. Rows from K on are
            left as they are.
        iou_threshold: for methods 0 and 1: a weight applies from this IoU on.
        sigma: for method 2.
        min_score: score below which a box is dropped.
        method: 0, naive: weight 0; 1, linear: weight ``1 - IoU``; 2, gaussian: ``exp(-IoU**2 / sigma)``.
        offset: as in :func:`nms`.

    Returns:
        int64 (K,): the index of each pick in ``boxes``.

    Raises:
        ValueError: there is no such method.
    """
    if method not in (0, 1, 2):
        raise ValueError(f'softnms has no method {method}: use 0 (naive), 1 (linear) or 2 (gaussian).')
    # numpy: the loop below runs once per kept box on short arrays, where a call into torch costs several times more.
    boxes = _wide(boxes.detach())
    array = boxes.cpu().numpy()
    real = array.dtype.type
    size = array[:, 2:] - array[:, :2] + real(offset)
    left = np.concatenate(
        [array, (size[:, 0] * size[:, 1])[:, None], scores.detach().to(boxes).cpu().numpy()[:, None]], axis=1
    )  # (n, 6): x1, y1, x2, y2, area, score of the boxes that are still in
    index = np.arange(len(left))
    iou_threshold, sigma, min_score = real(np.float32(iou_threshold)), real(sigma), real(np.float32(min_score))
    picked, picked_index = [], []
    while len(left):
        best = left[:, 5].argmax()
        top, top_index = left[best].copy(), index[best]
        picked.append(top)
        picked_index.append(top_index)
        # mmcv works in one array: the pick changes places with the first box, and a dropped box is overwritten by the
        # last. The same moves here, because the order decides which of two equal scores is picked first.
        left[best], index[best] = left[0], index[0]
        left, index = left[1:], index[1:]
        width, height = (np.minimum(top[2:4], left[:, 2:4]) - np.maximum(top[:2], left[:, :2]) + real(offset)).T
        overlap = np.maximum(width, 0) * np.maximum(height, 0)
        union = top[4] + left[:, 4] - overlap
        # Two boxes without any area overlap by 0 / 0: nothing.
        iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union != 0)
        if method == 2:
            left[:, 5] *= np.exp(-(iou * iou) / sigma)
        else:
            weight = 1 - iou if method == 1 else real(0)
            left[:, 5] *= np.where(iou >= iou_threshold, weight, real(1))
        keep = ~(left[:, 5] < min_score)
        if not keep.all():
            count = int(keep.sum())
            order = np.arange(count)
            order[~keep[:count]] = count + np.flatnonzero(keep[count:])[::-1]
            left, index = left[order], index[order]
    if picked:
        kept = torch.from_numpy(np.stack(picked))[:, [0, 1, 2, 3, 5]]
        dets[: len(picked)].copy_(kept)
    return torch.tensor(picked_index, dtype=torch.long, device=boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Non-maximum suppression that also says which boxes each kept one has suppressed (IoU not below the threshold).

    Args:
        dets: (N, 5), the boxes with their scores, on the CPU (mmcv moves them there).
        iou_threshold: compared in float32.

    Returns:
        One list per kept box, best first: its index, then those of the boxes it suppressed, best first.
    """
    dets = _wide(dets)
    boxes = dets[:, :4].numpy()
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = dets[:, 4].sort(descending=True, stable=True)[1].numpy()
    groups = []
    while len(left):
        best, left = left[0], left[1:]
        overlap = np.prod(
            np.clip(
                np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2]), 0, None
            ),
            axis=1,
        )
        union = area[best] + area[left] - overlap
        iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union != 0)
        gone = iou >= np.float32(iou_threshold)
        groups.append([int(best), *left[gone].tolist()])
        left = left[~gone]
    return groups


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Overlaps of boxes.

    Args:
        bboxes1: (M, 4).
        bboxes2: (N, 4).
        ious: (M, N), or (M,) when aligned, written in place.
        mode: 0: intersection over union; 1: intersection over the area of the first box.
        aligned: compare box by box (M = N), not every pair.
        offset: as in :func:`nms`.
    """
    first, second = _wide(bboxes1), _wide(bboxes2)
    area1, area2 = ((b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset) for b in (first, second))
    if not aligned:
        first, area1 = first[:, None], area1[:, None]
    size = (
        torch.minimum(first[..., 2:], second[:, 2:]) - torch.maximum(first[..., :2], second[:, :2]) + offset
    ).clamp_(0)
    overlap = size[..., 0] * size[..., 1]
    ious.copy_(overlap / (area1 + area2 - overlap if mode == 0 else area1))


# --- RoIAlign ---


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
    features = _wide(input)
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
    grad = _wide(grad_output)
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


# --- Deformable convolution ---


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
    input = _wide(input)
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    return input, weight.to(input), offset.to(input), mask.to(input), bias.to(input)


# --- Focal losses ---


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
    logits = _wide(input)
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
    grad = -slope * _wide(input)
    grad_input.copy_(grad.scatter_add_(1, column, slope))


def _of_class(input: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column (N, 1) of each row's class, its probability (N,), and the row's factor (N,): 0 where it has no class."""
    probabilities = _wide(input)
    inside = (target >= 0) & (target < input.size(1))
    column = target.clamp(0, input.size(1) - 1)[:, None]
    factor = inside.to(probabilities.dtype)
    if weight.numel():
        factor = factor * weight.to(probabilities)[column[:, 0]]
    return column, probabilities.gather(1, column)[:, 0], factor


# --- What mmcv reports about its compilation ---


def get_compiler_version() -> str:
    """What stands in for the compiler's version in environment reports."""
    import torchvision

    return f'not compiled: torchvision {torchvision.__version__} through rethink.ops'


def get_compiling_cuda_version() -> str:
    """What stands in for the CUDA version in environment reports."""
    return f'not compiled: CUDA {torch.version.cuda} of torch' if torch.version.cuda else 'not compiled: no CUDA'


# --- The module ---

OPS = (
    'bbox_overlaps',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
)
"""The functions of ``mmcv._ext`` that are provided."""


class _Ext(types.ModuleType):
    """``mmcv._ext``: has every name, because mmcv asks for all of them at import, but only some of them work."""

    def __getattr__(self, name: str):
        if name.startswith('_'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def unprovided(*args, **kwargs):
            raise NotImplementedError(
                f"mmcv's op {name!r} is not among those that rethink.ops provides over torchvision; {HOW_TO_COMPILE}."
            )

        unprovided.__name__ = unprovided.__qualname__ = name
        return unprovided


class _Loader(importlib.abc.Loader):
    def create_module(self, spec):
        return _Ext(spec.name, "mmcv's ops over torchvision, by rethink.ops.")

    def exec_module(self, module):
        vars(module).update({name: globals()[name] for name in OPS})


def provided() -> str:
    """Whose ops mmcv uses: ``'compiled'``, its own, or ``'torchvision'``, those of this module."""
    return install()


def install() -> str:
    """Make mmcv's ops usable: provide ``mmcv._ext`` when mmcv has no compiled one that loads.

    ``import rethink`` calls it; calling it again changes nothing. Call it before mmdet is imported: classic mmdet
    cannot be imported without ops at all, and OneDL's replaces each missing op by a function that raises (these are
    found and put right, but not in classes that were derived from such a stand-in).

    Returns:
        As :func:`provided`.

    Raises:
        ImportError: mmcv is not installed, or torchvision has no compiled ops for the installed torch.
    """
    if EXT in sys.modules:
        return 'torchvision' if isinstance(sys.modules[EXT], _Ext) else 'compiled'
    try:
        mmcv = importlib.import_module('mmcv')
    except ModuleNotFoundError as error:
        if error.name != 'mmcv':
            raise
        raise ImportError('rethink needs mmcv: `pip install -r requirements/runtime.txt` brings it.') from error
    broken = None
    try:
        importlib.import_module(EXT)
        return 'compiled'
    except ModuleNotFoundError as error:
        if error.name != EXT:
            raise
    except ImportError as error:
        broken = error
    _check_torchvision()
    if broken:
        reason = (str(broken).splitlines() or [type(broken).__name__])[0]
        warnings.warn(
            f"mmcv's compiled ops do not load beside torch {torch.__version__} ({reason}), so rethink.ops uses "
            'torchvision in their place; rebuild mmcv to have them (docs/ops.md).',
            stacklevel=2,
        )
    spec = importlib.machinery.ModuleSpec(EXT, _Loader(), origin=__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[EXT] = mmcv._ext = module
    _replace_stand_ins()
    return 'torchvision'


def _check_torchvision() -> None:
    try:
        import torchvision  # noqa: F401  registers its ops with torch

        missing = [op for op in ('nms', 'roi_align', 'deform_conv2d') if not hasattr(torch.ops.torchvision, op)]
        if not missing:
            return
        reason = f'no torchvision::{missing[0]}'
    except Exception as error:  # a torchvision of another torch fails in ways that changed from release to release
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ImportError(
        f'The installed torchvision has no compiled ops for torch {torch.__version__} ({reason}); install both '
        'together from PyPI with `pip install --force-reinstall torch torchvision`.'
    )


def _replace_stand_ins() -> None:
    """Put mmcv's ops where modules of OneDL's mmdet that were imported earlier have stand-ins that only raise."""
    mark = ' requires mmcv to be compiled'
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] not in ('mmdet', 'mmpretrain'):
            continue
        for attribute, value in list(vars(module).items()):
            function = value.__init__ if isinstance(value, type) else value
            constants = getattr(getattr(function, '__code__', None), 'co_consts', ())
            op = next((text.partition(mark)[0] for text in constants if isinstance(text, str) and mark in text), None)
            if op is None:
                continue
            for home in ('mmcv.ops', 'mmcv.ops.merge_cells'):
                found = getattr(importlib.import_module(home), op, None)
                if found is not None:
                    setattr(module, attribute, found)
                    break
