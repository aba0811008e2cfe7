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

from .attention import ms_deform_attn_backward, ms_deform_attn_forward
from .boxes import bbox_overlaps, nms, nms_match, softnms
from .carafe import carafe_backward, carafe_forward, carafe_naive_backward, carafe_naive_forward
from .deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from .extension import OPS, install, provided
from .focal import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from .info import get_compiler_version, get_compiling_cuda_version
from .masked import masked_col2im_forward, masked_im2col_forward
from .norm import (
    sync_bn_backward_data,
    sync_bn_backward_param,
    sync_bn_forward_mean,
    sync_bn_forward_output,
    sync_bn_forward_var,
)
from .roi import deform_roi_pool_backward, deform_roi_pool_forward, roi_align_backward, roi_align_forward

__all__ = [
    'OPS',
    'bbox_overlaps',
    'carafe_backward',
    'carafe_forward',
    'carafe_naive_backward',
    'carafe_naive_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'deform_roi_pool_backward',
    'deform_roi_pool_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'install',
    'masked_col2im_forward',
    'masked_im2col_forward',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'ms_deform_attn_backward',
    'ms_deform_attn_forward',
    'nms',
    'nms_match',
    'provided',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
    'sync_bn_backward_data',
    'sync_bn_backward_param',
    'sync_bn_forward_mean',
    'sync_bn_forward_output',
    'sync_bn_forward_var',
]
