"""A detector as one ONNX file for images of one size, good when onnxruntime finds with it what PyTorch does.

MMDetection's own post-processing cannot be traced: it asks of tensors how many detections there are. While the model
is traced, the places that ask are replaced by ones that need not: scores are ranked before they are compared with the
threshold, RoIs are pooled in every level and one is chosen, proposals are filled up to a fixed number with copies of
the best, which non-maximum suppression takes away again, and maps have sizes that are known. Masks are those of the
head, before they are laid into the image. What is traced otherwise is MMDetection's.
"""

import contextlib
import copy
import json
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
import torchvision
from mmdet.models.dense_heads import RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from torch import Tensor, nn
from torch.nn import functional

from ..config_tree import type_name
from ..errors import ConfigError
from ..files import write_atomically
from ..version import with_commit
from .look.inferencer import Inferencer

OPSET = 17
# By how much a detection may differ: pixels of the input, score, and part of the pixels of a mask, or so many of them.
PIXELS, SCORE, MASK, FEW = 0.1, 1e-3, 0.01, 4
_EDGE = 1e-3
_DENSE = 'mmdet.models.dense_heads.base_dense_head'


class Found(NamedTuple):
    """Detections of an image, the best first.

    Args:
        boxes: (N, 4), x1, y1, x2, y2 in pixels of the input.
        scores, labels: (N,).
        masks: of the whole image as it was before the pipeline, (N, H, W) bool; None of a detector without.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None


class Network(nn.Module):
    """A detector with what comes before it and after it, for images of one size.

    Args:
        model: of MMDetection.
        size: height and width of the images.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Of an image, (1, 3, H, W) float32, blue, green, red, 0 to 255: boxes (N, 4), scores (N,), labels (N,).

        With masks also these, (N, h, w) float32, how probable the class is at each place of the box.
        """
        sample = DetDataSample(metainfo=dict(img_shape=self.size, ori_shape=self.size, scale_factor=(1.0, 1.0)))
        data = self.model.data_preprocessor(dict(inputs=[image[0]], data_samples=[sample]), False)
        found = self.model.predict(data['inputs'], data['data_samples'], rescale=False)[0].pred_instances
        return found.bboxes, found.scores, found.labels, *([found.masks] if 'masks' in found else [])


class _EveryLevel(nn.Module):
    """``SingleRoIExtractor`` that pools each RoI in all levels and chooses one."""

    def __init__(self, extractor: SingleRoIExtractor) -> None:
        super().__init__()
        self.extractor, self.num_inputs = extractor, extractor.num_inputs

    def forward(self, features: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        level, pooled = self.extractor.map_roi_levels(rois, self.num_inputs), 0.0
        for at, (of_level, layer) in enumerate(zip(features, self.extractor.roi_layers, strict=False)):
            found = torchvision.ops.roi_align(
                of_level, rois, layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
            )
            pooled = pooled + torch.where((level == at)[:, None, None, None], found, torch.zeros_like(found))
        return pooled


def _masks(head: nn.Module):
    """``predict_mask`` of an RoI head, which leaves the masks as its mask head gives them."""
    stages = [(stage,) for stage in range(head.num_stages)] if isinstance(head.mask_head, nn.ModuleList) else [()]

    def predict_mask(features: tuple[Tensor, ...], batch_img_metas, results_list, rescale: bool = False):
        (found,) = results_list
        rois = bbox2roi([found.bboxes])
        each = [head._mask_forward(*stage, features, rois)['mask_preds'].sigmoid() for stage in stages]
        masks = torch.stack(each).mean(0)
        labels = found.labels if masks.shape[1] > 1 else torch.zeros_like(found.labels)
        places = labels[:, None, None, None].expand(-1, 1, *masks.shape[2:])
        found.masks = masks.gather(1, places)[:, 0]
        return results_list

    return predict_mask


def _resize(cell: nn.Module, x: Tensor, size: tuple[int, int]) -> Tensor:
    """``BaseMergeCell._resize`` of mmcv, with sizes that are numbers."""
    (height, width), (high, wide) = map(int, x.shape[-2:]), map(int, size)
    if (height, width) == (high, wide):
        return x
    if (height, width) < (high, wide):
        return functional.interpolate(x, size=(high, wide), mode=cell.upsample_mode)
    down, right = math.ceil(height / high), math.ceil(width / wide)
    below, beside = down * high - height, right * wide - width
    x = functional.pad(x, (beside // 2, beside - beside // 2, below // 2, below - below // 2))
    return functional.max_pool2d(x, (down, right), (down, right))


def _ranked(scores: Tensor, score_thr: float, topk: int, results=None):
    """MMDetection's ``filter_scores_and_topk``, the best first and then those above the threshold."""
    number, classes = scores.shape
    best, at = scores.flatten().topk(min(topk, number * classes) if topk > 0 else number * classes)
    above = (best > score_thr).nonzero()[:, 0]
    best, at = best[above], at[above]
    kept = torch.div(at, classes, rounding_mode='floor')
    return best, at % classes, kept, {key: value[kept] for key, value in results.items()}


def _nms(apart: float, fill: int = 0, least: float = -1.0):
    """mmcv's ``batched_nms`` for boxes of one image.

    Args:
        apart: by what boxes of two classes are moved apart: more than the image is long.
        fill: always keep so many, by copies of the best; 0: those that are kept.
        least: the side that those which are filled up have at least.
    """

    def batched(boxes: Tensor, scores: Tensor, labels: Tensor, nms_cfg: dict, class_agnostic: bool = False):
        moved = boxes if class_agnostic else boxes + (labels.to(boxes) * apart)[:, None]
        # In place of a size that MMDetection asks for, so that small boxes come last, and are none.
        large = (boxes[:, 2:] - boxes[:, :2] > least).all(1)
        scores = torch.where(large, scores, torch.full_like(scores, -1.0)) if fill else scores
        # Of a box without an area a copy would not overlap.
        moved = torch.cat([moved[:, :2], moved[:, 2:] + _EDGE], 1)
        kept = torchvision.ops.nms(moved, scores, nms_cfg['iou_threshold'])
        if fill:
            kept = torch.where(large[kept], kept, kept[:1])
            kept = torch.cat([kept, kept[:1].expand(fill)])[:fill]
        return torch.cat([boxes[kept], scores[kept][:, None]], 1), kept

    return batched


@contextlib.contextmanager
def _traceable(model: nn.Module, size: tuple[int, int]) -> Iterator[None]:
    apart = float(max(size) + 1)
    with contextlib.ExitStack() as changed:

        def put(place: str, value) -> None:
            changed.enter_context(mock.patch(place, value))

        # MMDetection's answer to it is a package that it no longer has.
        put('torch.onnx.is_in_onnx_export', lambda: False)
        put('mmdet.models.layers.bbox_nms.batched_nms', _nms(apart))
        put(f'{_DENSE}.batched_nms', _nms(apart))
        put(f'{_DENSE}.filter_scores_and_topk', _ranked)
        put('mmcv.ops.merge_cells.BaseMergeCell._resize', _resize)
        if isinstance(model, TwoStageDetector):
            proposals = copy.deepcopy(model.test_cfg.rpn)
            least = float(proposals.get('min_bbox_size', -1))
            proposals.min_bbox_size = -1
            put('mmdet.models.dense_heads.rpn_head.batched_nms', _nms(apart, proposals.max_per_img, least))
            changed.enter_context(mock.patch.object(model.test_cfg, 'rpn', proposals))
            changed.enter_context(mock.patch.object(model.rpn_head, 'test_cfg', proposals))
            head = model.roi_head
            for name in _extractors(head):
                before = getattr(head, name)
                every = [_EveryLevel(one) for one in _each(before)]
                setattr(head, name, nn.ModuleList(every) if isinstance(before, nn.ModuleList) else every[0])
                changed.callback(setattr, head, name, before)
            if head.with_mask:
                changed.enter_context(mock.patch.object(head, 'predict_mask', _masks(head)))
        yield


def _extractors(head: nn.Module) -> list[str]:
    """Names of the parts of an RoI head that pool RoIs."""
    return ['bbox_roi_extractor', 'mask_roi_extractor'] if head.with_mask else ['bbox_roi_extractor']


def _each(part: nn.Module) -> list[nn.Module]:
    """Of a cascade the parts of its stages."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def check_kind(model: nn.Module) -> None:
    """
    Raises:
        ConfigError: it is none of the detectors whose parts are known here.
    """
    cfgs = []
    if type(model).predict not in (SingleStageDetector.predict, TwoStageDetector.predict):
        what = f'a {type(model).__name__}'
    elif isinstance(model, TwoStageDetector):
        head = model.roi_head
        extractors = [one for name in _extractors(head) for one in _each(getattr(head, name))]
        plain = type(model.rpn_head) is RPNHead and all(type(one) is SingleRoIExtractor for one in extractors)
        plain = plain and (not head.with_mask or all(type(one) is FCNMaskHead for one in _each(head.mask_head)))
        known = isinstance(head, StandardRoIHead | CascadeRoIHead) and not getattr(head, 'with_shared_head', False)
        what = '' if plain and known else f'a {type(model).__name__} with a {type(head).__name__} and other parts'
        cfgs = [model.test_cfg.rpn, model.test_cfg.rcnn]
    else:
        head = model.bbox_head
        methods = ('predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')
        plain = all(getattr(type(head), name) is getattr(BaseDenseHead, name) for name in methods)
        what = '' if plain else f'a {type(model).__name__} with a {type(head).__name__}'
        cfgs = [model.test_cfg]
    other = [one.nms.type for one in cfgs if type_name(one.nms.get('type', 'nms')) != 'nms']
    if what or other:
        raise ConfigError(
            f'the model is {what or f"one with {other[0]}"}, and exported are detectors of one stage with the dense '
            "heads' own post-processing, and Faster, Mask and Cascade R-CNN, all with type='nms'."
        )


def export(inferencer: Inferencer, images: Sequence[str], out: Path) -> str:
    """Write the ONNX file for images of the size to which the test pipeline brings the first; a sentence on it.

    Args:
        images: in which onnxruntime is to find what PyTorch does.

    Raises:
        ConfigError: onnx or onnxruntime is missing, the model is of another kind, an image has another size than the
            first, nothing is found in the first, or onnxruntime finds something else than PyTorch. Nothing is written
            then.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f'{error.name} is not installed; pip install onnx onnxruntime.') from None
    check_kind(inferencer.model)
    samples = [inferencer.image(one) for one in images]
    size, *others = (tuple(one['inputs'].shape[-2:]) for one in samples)
    if other := next((name for name, one in zip(images[1:], others, strict=True) if one != size), None):
        raise ConfigError(f'{other} has another size than {images[0]} behind the pipeline; name images of one size.')
    expected = [_of_pytorch(inferencer, one) for one in samples]
    if not len(expected[0].scores):
        raise ConfigError(f'nothing is found in {images[0]}, so nothing can be compared; name one with objects first.')
    pixels = [one['inputs'][None].float() for one in samples]
    model = copy.deepcopy(inferencer.model).cpu().eval()
    names = Found._fields if getattr(model, 'with_mask', False) else Found._fields[:3]
    network = Network(model, size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer, about what is constant for one size
        file = os.path.join(folder, 'model.onnx')
        try:
            with torch.no_grad(), _traceable(model, size):
                torch.onnx.export(
                    network,
                    (pixels[0],),
                    file,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=['image'],
                    output_names=list(names),
                    dynamic_axes={name: {0: 'detections'} for name in names},
                )
        except torch.onnx.OnnxExporterError as error:
            raise ConfigError(f'PyTorch cannot export the model: {str(error).splitlines()[0]:.200}.') from error
        graph = onnx.load(file)
    classes = list(inferencer.model.dataset_meta['classes'])
    facts = dict(classes=json.dumps(classes), height=str(size[0]), width=str(size[1]), channels='BGR, 0 to 255')
    onnx.helper.set_model_props(graph, facts | dict(rethink_version=with_commit()))
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    worst = np.zeros(2)
    cfg = model.test_cfg.rcnn if isinstance(model, TwoStageDetector) else model.test_cfg
    for name, image, sample, wanted in zip(images, pixels, samples, expected, strict=True):
        found = Found(*session.run(None, dict(image=image.numpy())))
        if wanted.masks is not None:
            found = found._replace(masks=_laid(found, sample['data_samples'].metainfo, cfg.mask_thr_binary))
        apart = differences(wanted, found, cfg.max_per_img)
        if np.isinf(apart[0]):
            raise ConfigError(
                f'onnxruntime finds {len(found.scores)} detections in {name} and PyTorch {len(wanted.scores)}, and '
                f'not all of them are the same to {PIXELS} pixels, {SCORE} in the score and {MASK:.0%} of a mask; '
                'nothing is written.'
            )
        worst = np.maximum(worst, apart)
    write_atomically(out, content)
    number = sum(len(one.scores) for one in expected)
    return (
        f'for images of {size[1]} × {size[0]} pixels, {len(classes)} classes; onnxruntime finds the {number} '
        f'detections of PyTorch in {len(images)} of them, to {worst[0]:.1g} pixels and {worst[1]:.1g} in the score'
        + (f', with masks that differ in {MASK:.0%} of their pixels at most, or {FEW}' if len(names) > 3 else '')
    )


def _of_pytorch(inferencer: Inferencer, sample: dict) -> Found:
    """What MMDetection finds, in pixels of the input."""
    (found,) = inferencer.find([sample])
    instances = found.pred_instances.cpu()
    boxes = instances.bboxes.numpy() * _scale(sample['data_samples'].metainfo)
    masks = instances.masks.numpy() if 'masks' in instances else None
    return Found(boxes, instances.scores.numpy(), instances.labels.numpy(), masks)


def _scale(about: dict) -> np.ndarray:
    """By what a box of the image is multiplied to be one of the input, (4,) float64."""
    return np.tile(np.array(about.get('scale_factor', (1.0, 1.0)), float), 2)


def _laid(found: Found, about: dict, threshold: float) -> np.ndarray:
    """The masks of the exported model as masks of the image, by MMDetection's own way, (N, H, W) bool."""
    boxes, masks = torch.from_numpy(found.boxes / _scale(about)).float(), torch.from_numpy(found.masks)
    laid, _ = _do_paste_mask(masks[:, None], boxes, *about['ori_shape'][:2], skip_empty=False)
    return (laid >= threshold).numpy()


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return (one != other).sum() <= max(FEW, MASK * (one | other).sum())


def differences(one: Found, other: Found, limit: int = -1) -> tuple[float, float]:
    """By how much the detections of an image are apart at most, in pixels and score; inf where one has no partner.

    Partners are of one class, so that the order of equal scores is none of it, and have the same mask, but for
    :data:`MASK` of its pixels or :data:`FEW`.

    Args:
        limit: on the number of detections, which cuts between equal scores by chance: where both have that many, one
            as weak as the weakest needs no partner, for up to a quarter of them.
    """
    if not len(one.scores) or not len(other.scores):
        return (0.0, 0.0) if len(one.scores) == len(other.scores) else (np.inf, np.inf)
    worst, alone = [0.0, 0.0], 0
    for first, second in ((one, other), (other, one)):
        at_limit = len(first.scores) == len(second.scores) == limit
        for at, (box, score, label) in enumerate(zip(*first[:3], strict=True)):
            apart = np.abs(second.boxes - box).max(1)
            scores = np.abs(second.scores - score)
            close = (second.labels == label) & (apart <= PIXELS) & (scores <= SCORE)
            if first.masks is not None:
                close[close] = [_same(first.masks[at], mask) for mask in second.masks[close]]
            if close.any():
                best = np.argmin(np.where(close, apart, np.inf))
                worst = [max(worst[0], float(apart[best])), max(worst[1], float(scores[best]))]
            elif at_limit and score <= second.scores.min() + SCORE:
                alone += 1
            else:
                return np.inf, np.inf
    return tuple(worst) if 4 * alone <= len(one.scores) + len(other.scores) else (np.inf, np.inf)
