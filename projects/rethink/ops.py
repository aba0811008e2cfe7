"""The mmcv ops that detectors need, over torchvision, for an mmcv without compiled ones.

mmcv's Python side (:mod:`mmcv.ops`) calls a compiled module, ``mmcv._ext``, which PyPI does not carry for any recent
PyTorch. :func:`install` provides a module of that name whose functions call torchvision and torch: mmcv, mmdet and
mmpretrain then import and run unchanged. A compiled extension that loads is used and left alone.

Each function below has the name, the arguments and the in-place outputs of its namesake in mmcv's
``ops/csrc/pytorch/pybind.cpp``. Common to all:

* boxes are ``(x1, y1, x2, y2)`` in pixels, RoIs are ``(index of the image in the batch, x1, y1, x2, y2)``;
* outputs are on the device of the inputs, in the dtype of the tensor that mmcv passes for them;
* float16 and bfloat16 are computed in float32 and rounded once, at the end, autocast or not; float64 in float64.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

__all__ = ['install', 'provided', 'OPS']

EXT = 'mmcv._ext'
HOW_TO_COMPILE = (
    'install compiled mmcv for it: with a compiler (and for GPUs the CUDA toolkit of your torch) run '
    '`MMCV_WITH_OPS=1 FORCE_CUDA=1 pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    '--no-binary :all: onedl-mmcv`'
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
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores.to(boxes.dtype), float(np.float32(iou_threshold)))


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
        alpha: weight of the positive logit of a row; the others weigh ``1 - alpha``.
    """
    z, alpha_t = _signed(input, target, alpha)[1:]
    loss = (-z).sigmoid_().pow_(gamma).mul_(F.logsigmoid(z)).mul_(alpha_t).neg_()
    output.copy_(_weighted(loss, target, weight))


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
        alpha: weight of the positive logit.
    """
    sign, z, alpha_t = _signed(input, target, alpha)
    # With q = 1 - p_t: d/dz [q^gamma log p_t] = q^gamma (q - gamma p_t log p_t).
    q = (-z).sigmoid_()
    grad = z.sigmoid().mul_(F.logsigmoid(z)).mul_(-gamma).add_(q)
    grad = grad.mul_(q.pow_(gamma)).mul_(alpha_t).mul_(sign).neg_()
    grad_input.copy_(_weighted(grad, target, weight))


def _signed(input: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sign of each logit's class (+1 for the target), the logits times it, so that ``p_t = sigmoid(z)``, alpha_t."""
    logits = _wide(input)
    positive = target[:, None] == torch.arange(logits.size(1), device=logits.device)
    sign = positive.to(logits.dtype).mul_(2).sub_(1)
    return sign, logits * sign, positive.to(logits.dtype).mul_(2 * alpha - 1).add_(1 - alpha)


def _weighted(values: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    if not weight.numel():
        return values
    inside = (target >= 0) & (target < len(weight))
    factor = torch.where(inside, weight[target.clamp(0, len(weight) - 1)].to(values.dtype), 1)
    return values * factor.view(-1, *[1] * (values.dim() - 1))


# --- What mmcv reports about its compilation ---


def get_compiler_version() -> str:
    """What stands in for the compiler's version in environment reports."""
    return f'not compiled: torchvision {torchvision.__version__} through rethink.ops'


def get_compiling_cuda_version() -> str:
    """What stands in for the CUDA version in environment reports."""
    return f'not compiled: CUDA {torch.version.cuda} of torch' if torch.version.cuda else 'not compiled'


OPS = (
    'nms',
    'softnms',
    'roi_align_forward',
    'roi_align_backward',
    'sigmoid_focal_loss_forward',
    'sigmoid_focal_loss_backward',
)
"""Names of the functions of ``mmcv._ext`` that are provided."""


# --- The module ---


class _Ext(types.ModuleType):
    """``mmcv._ext``: has every name, because mmcv asks for them at import, but only some of them work."""

    def __getattr__(self, name: str):
        if name.startswith('_'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def unprovided(*args, **kwargs):
            raise NotImplementedError(
                f"mmcv's op {name!r} is not among those that rethink.ops provides over torchvision; {HOW_TO_COMPILE}."
            )

        unprovided.__name__ = unprovided.__qualname__ = name
        return unprovided


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and makes ``mmcv._ext``."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == EXT:
            return importlib.machinery.ModuleSpec(EXT, self, origin=__name__)
        return None

    def create_module(self, spec):
        return _Ext(spec.name, f'{", ".join(OPS)} over torchvision, by rethink.ops.')

    def exec_module(self, module):
        for name in (*OPS, 'get_compiler_version', 'get_compiling_cuda_version'):
            setattr(module, name, globals()[name])


def provided() -> str:
    """``'torchvision'`` when mmcv's ops are ours, ``'compiled'`` when they are mmcv's own, ``'none'`` otherwise."""
    try:
        spec = importlib.util.find_spec(EXT)
    except ModuleNotFoundError:
        return 'none'
    if spec is None:
        return 'none'
    return 'torchvision' if isinstance(spec.loader, _Finder) else 'compiled'


def install() -> str:
    """Make ``mmcv._ext`` importable when mmcv has no compiled extension that loads; can be called again.

    Call it before mmdet is imported (``import rethink`` does).

    Returns:
        ``'torchvision'`` or ``'compiled'``: whose ops mmcv uses.

    Raises:
        ImportError: torchvision has no compiled ops for the installed torch.
    """
    current = sys.modules.get(EXT)
    if current is not None:
        return 'torchvision' if isinstance(current, _Ext) else 'compiled'
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None:
        return 'none'
    compiled = importlib.machinery.PathFinder.find_spec(EXT, mmcv.submodule_search_locations)
    if compiled is not None:
        try:
            compiled.loader.exec_module(importlib.util.module_from_spec(compiled))
            return 'compiled'
        except ImportError as error:
            sys.modules.pop(EXT, None)
            warnings.warn(
                f"mmcv's compiled ops ({compiled.origin}) do not load with torch {torch.__version__} ({error}); "
                'torchvision is used for them instead (a rebuilt mmcv would be used again).',
                stacklevel=2,
            )
    if not (hasattr(torch.ops.torchvision, 'nms') and hasattr(torch.ops.torchvision, 'roi_align')):
        raise ImportError(
            f'torchvision {torchvision.__version__} has no compiled ops for torch {torch.__version__}; install both '
            'together from PyPI: `pip install --force-reinstall torch torchvision`.'
        )
    finder = _Finder()
    if not any(isinstance(other, _Finder) for other in sys.meta_path):
        # First: a compiled extension that does not load would be found before it otherwise.
        sys.meta_path.insert(0, finder)
    importlib.util.find_spec  # noqa: B018
    spec = finder.find_spec(EXT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[EXT] = module
    spec.loader.exec_module(module)
    if 'mmcv' in sys.modules:
        sys.modules['mmcv']._ext = module
    return 'torchvision'
