"""A detector as one ONNX file for images of one size, good when onnxruntime finds with it what PyTorch does.

MMDetection's own post-processing cannot be traced: it asks of tensors how many detections there are. While the model
is traced, the places that ask are replaced by ones that need not: scores are ranked before they are compared with the
threshold, RoIs are pooled in every level and one is chosen, and proposals are filled up to a fixed number with copies
of the best, which non-maximum suppression takes away again. What is traced otherwise is MMDetection's.
"""

import contextlib
import copy
import json
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
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ..config_tree import type_name
from ..errors import ConfigError
from ..files import write_atomically
from ..version import with_commit
from .look.inferencer import Inferencer

OPSET = 17
# By how much a detection may differ: pixels of the input, and score.
PIXELS, SCORE = 0.1, 1e-3
_EDGE = 1e-3
_DENSE = 'mmdet.models.dense_heads.base_dense_head'


class Found(NamedTuple):
    """Detections of an image, the best first: boxes (N, 4) x1, y1, x2, y2 in pixels of the input, scores, labels."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class Network(nn.Module):
    """A detector with what comes before it and after it, for images of one size.

    Args:
        model: of MMDetection, whose masks are left away.
        size: height and width of the images.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model, self.size = model, size

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of an image, (1, 3, H, W) float32, blue, green, red, 0 to 255: boxes (N, 4), scores (N,), labels (N,)."""
        sample = DetDataSample(metainfo=dict(img_shape=self.size, ori_shape=self.size, scale_factor=(1.0, 1.0)))
        data = self.model.data_preprocessor(dict(inputs=[image[0]], data_samples=[sample]), False)
        found = self.model.predict(data['inputs'], data['data_samples'], rescale=False)[0].pred_instances
        return found.bboxes, found.scores, found.labels


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
        if isinstance(model, TwoStageDetector):
            proposals = copy.deepcopy(model.test_cfg.rpn)
            least = float(proposals.get('min_bbox_size', -1))
            proposals.min_bbox_size = -1
            put('mmdet.models.dense_heads.rpn_head.batched_nms', _nms(apart, proposals.max_per_img, least))
            changed.enter_context(mock.patch.object(model.test_cfg, 'rpn', proposals))
            changed.enter_context(mock.patch.object(model.rpn_head, 'test_cfg', proposals))
            head = model.roi_head
            several = isinstance(head.bbox_roi_extractor, nn.ModuleList)
            every = [_EveryLevel(one) for one in (head.bbox_roi_extractor if several else [head.bbox_roi_extractor])]
            before, head.bbox_roi_extractor = head.bbox_roi_extractor, nn.ModuleList(every) if several else every[0]
            changed.callback(setattr, head, 'bbox_roi_extractor', before)
        yield


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
        extractors = head.bbox_roi_extractor
        extractors = list(extractors) if isinstance(extractors, nn.ModuleList) else [extractors]
        plain = type(model.rpn_head) is RPNHead and all(type(one) is SingleRoIExtractor for one in extractors)
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
    if getattr(model, 'with_mask', False):
        model.roi_head.mask_head = None
        model.roi_head.mask_roi_extractor = None
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
                    output_names=list(Found._fields),
                    dynamic_axes={name: {0: 'detections'} for name in Found._fields},
                )
        except torch.onnx.OnnxExporterError as error:
            raise ConfigError(
                f'PyTorch cannot export the model: {str(error).splitlines()[0]:.200}; NASFPN is known to be so.'
            ) from error
        graph = onnx.load(file)
    classes = list(inferencer.model.dataset_meta['classes'])
    facts = dict(classes=json.dumps(classes), height=str(size[0]), width=str(size[1]), channels='BGR, 0 to 255')
    onnx.helper.set_model_props(graph, facts | dict(rethink_version=with_commit()))
    content = graph.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    worst = np.zeros(2)
    limit = (model.test_cfg.rcnn if isinstance(model, TwoStageDetector) else model.test_cfg).max_per_img
    for name, image, wanted in zip(images, pixels, expected, strict=True):
        found = Found(*session.run(None, dict(image=image.numpy())))
        apart = differences(wanted, found, limit)
        if np.isinf(apart[0]):
            raise ConfigError(
                f'onnxruntime finds {len(found.scores)} detections in {name} and PyTorch {len(wanted.scores)}, and '
                f'not all of them are the same to {PIXELS} pixels and {SCORE} in the score; nothing is written.'
            )
        worst = np.maximum(worst, apart)
    write_atomically(out, content)
    number = sum(len(one.scores) for one in expected)
    return (
        f'for images of {size[1]} × {size[0]} pixels, {len(classes)} classes; onnxruntime finds the {number} '
        f'detections of PyTorch in {len(images)} of them, to {worst[0]:.1g} pixels and {worst[1]:.1g} in the score'
    )


def _of_pytorch(inferencer: Inferencer, sample: dict) -> Found:
    """What MMDetection finds, in pixels of the input."""
    about = sample['data_samples'].metainfo
    (found,) = inferencer.find([sample])
    instances = found.pred_instances.cpu()
    scale = np.tile(np.array(about.get('scale_factor', (1.0, 1.0)), float), 2)
    return Found(instances.bboxes.numpy() * scale, instances.scores.numpy(), instances.labels.numpy())


def differences(one: Found, other: Found, limit: int = -1) -> tuple[float, float]:
    """By how much the detections of an image are apart at most, in pixels and score; inf where one has no partner.

    Partners are of one class, so that the order of equal scores is none of it.

    Args:
        limit: on the number of detections, which cuts between equal scores by chance: where both have that many, one
            as weak as the weakest needs no partner, for up to a quarter of them.
    """
    if not len(one.scores) or not len(other.scores):
        return (0.0, 0.0) if len(one.scores) == len(other.scores) else (np.inf, np.inf)
    worst, alone = [0.0, 0.0], 0
    for first, second in ((one, other), (other, one)):
        at_limit = len(first.scores) == len(second.scores) == limit
        for box, score, label in zip(*first, strict=True):
            apart = np.abs(second.boxes - box).max(1)
            scores = np.abs(second.scores - score)
            close = (second.labels == label) & (apart <= PIXELS) & (scores <= SCORE)
            if close.any():
                best = np.argmin(np.where(close, apart, np.inf))
                worst = [max(worst[0], float(apart[best])), max(worst[1], float(scores[best]))]
            elif at_limit and score <= second.scores.min() + SCORE:
                alone += 1
            else:
                return np.inf, np.inf
    return tuple(worst) if 4 * alone <= len(one.scores) + len(other.scores) else (np.inf, np.inf)
