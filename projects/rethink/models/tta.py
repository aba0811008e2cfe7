"""Test-time augmentation for boxes and masks, as in Detectron (``tools/test.py CONFIG CHECKPOINT --tta``).

Boxes are in (x1, y1, x2, y2) pixels. A *view* is one resized and flipped copy of an image, with its own coordinates;
what views say is compared in the coordinates of the original image.

Source: Detectron, ``lib/core/test.py`` (``im_detect_bbox_aug``, ``im_detect_mask_aug``) and ``lib/utils/boxes.py``
(``box_voting``); Rethinking ImageNet Pre-training, section 4 and figure 5. Boxes here have no ``+1``.
"""

import torch
from mmcv.ops import batched_nms
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi, bbox_flip, bbox_overlaps
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

# What a view changes in the meta information of its image.
_OF_A_VIEW = ('img_shape', 'pad_shape', 'batch_input_shape', 'scale_factor', 'flip', 'flip_direction')
# Dimensions in which the last two axes of a map are flipped back.
_FLIPPED = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}
# Masks are summed as integers of this fraction, because sums of integers do not depend on their order.
_FRACTION = 2.0**40
_VOTERS_AT_ONCE = 256


def box_voting(
    kept: Tensor,
    kept_scores: Tensor,
    kept_labels: Tensor,
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou: float = 0.9,
    score: str = 'ID',
) -> tuple[Tensor, Tensor]:
    """Move each kept box to the average of the boxes of its class around it, weighted by their scores.

    Args:
        kept: (K, 4), what NMS has left; ``kept_scores`` (K,), ``kept_labels`` (K,) integers.
        boxes: (N, 4), what NMS was given, the kept ones among them; ``scores`` (N,), ``labels`` (N,).
        iou: a box votes where its IoU with the kept one is at least this.
        score: Detectron's ``SCORING_METHOD``: ``'ID'`` leaves the kept score, ``'AVG'`` is the mean of the voters',
            ``'IOU_AVG'`` their mean weighted by IoU.

    Returns:
        Boxes (K, 4) and scores (K,), computed in float64 and given in the dtype of ``kept``. A box for which nobody
        votes (an empty one has no IoU, not even with itself) stays as it is.

    Raises:
        ValueError: an unknown ``score``.
    """
    if score not in ('ID', 'AVG', 'IOU_AVG'):
        raise ValueError(f"the score of box voting is 'ID', 'AVG' or 'IOU_AVG', not {score!r}")
    voted, voted_scores = kept.clone(), kept_scores.clone()
    all_boxes, all_scores = boxes.double(), scores.double()
    # Some hundreds of kept boxes and tens of thousands of voters: a part of that matrix at a time.
    for part in torch.arange(len(kept), device=kept.device).split(_VOTERS_AT_ONCE):
        overlaps = bbox_overlaps(kept[part].double(), all_boxes)
        votes = (overlaps >= iou) & (kept_labels[part, None] == labels)
        weights = votes * all_scores
        total = weights.sum(1, keepdim=True)
        # Elementwise products and not a matrix product, which a GPU may compute in another order each time.
        mean = torch.stack([(weights * side).sum(1) for side in all_boxes.unbind(1)], 1) / total
        some = total > 0
        voted[part] = torch.where(some, mean, kept[part].double()).to(kept.dtype)
        if score != 'ID':
            shares = votes * (overlaps if score == 'IOU_AVG' else 1.0)
            mean_scores = (shares * all_scores).sum(1) / shares.sum(1)
            mean_scores = torch.where(some[:, 0], mean_scores, kept_scores[part].double())
            voted_scores[part] = mean_scores.to(kept_scores.dtype)
    return voted, voted_scores


def sorted_by_content(boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), scores (N,) and labels (N,) with falling scores, in an order that depends on their values alone.

    NMS keeps the first of two boxes with the same score; after this the first is not that of the first view.
    """
    order = torch.arange(len(scores), device=scores.device)
    # Stable sorts by each key, the most important one last.
    for key in (*boxes.flip(1).unbind(1), labels):
        order = order[key[order].argsort(stable=True)]
    order = order[scores[order].argsort(stable=True, descending=True)]
    return boxes[order], scores[order], labels[order]


def boxes_from_view(boxes: Tensor, meta: dict) -> Tensor:
    """Boxes (…, 4) of a view in the coordinates of the original image.

    Args:
        meta: ``scale_factor`` (w, h), ``ori_shape`` (h, w), and, where the view is flipped, ``flip`` and
            ``flip_direction``, as mmdet's Resize, RandomFlip and PackDetInputs leave them.
    """
    boxes = boxes / boxes.new_tensor(meta['scale_factor']).repeat(2)
    return bbox_flip(boxes, meta['ori_shape'], meta['flip_direction']) if meta.get('flip') else boxes


def boxes_to_view(boxes: Tensor, meta: dict) -> Tensor:
    """The inverse of :func:`boxes_from_view`."""
    if meta.get('flip'):
        boxes = bbox_flip(boxes, meta['ori_shape'], meta['flip_direction'])
    return boxes * boxes.new_tensor(meta['scale_factor']).repeat(2)


@MODELS.register_module()
class DetectronTTAModel(BaseTTAModel):
    """Detectron's test-time augmentation of a two-stage detector: union, NMS, box voting, averaged masks.

    1. Each view on its own: the boxes of all RoIs and classes above the detector's ``score_thr``, before any NMS.
    2. Each image: the boxes of its views in one set, NMS for each class, :func:`box_voting`, the ``max_per_img`` best.
    3. Each view again: the mask head on these boxes. The probabilities, flipped back, are averaged over the views,
       and pasted into the image once (in chunks, by mmdet's mask head).

    A view's features are computed twice, for 1 and for 3, and never kept: those of Detectron's 18 views would be
    gigabytes, while what is kept (boxes above the threshold, 28 x 28 cells for each final box) is some megabytes. So
    the memory is that of the largest view, whose size the pipeline bounds.

    The order of the views changes no bit of the result. With a single view nothing is pooled and nobody votes: the
    result is that of plain testing. Any batch size, number of processes and device.

    Args:
        module: the detector, with ``rpn_head`` and ``roi_head``: boxes alone, or with mask heads that predict as
            mmdet's ``FCNMaskHead``. Cascades as well, of mmdet or of :mod:`rethink.models.cascade`.
        tta_cfg: ``nms`` and ``max_per_img`` (those of the detector's ``test_cfg.rcnn`` where they are not given) and
            ``vote``, ``dict(iou=0.9, score='ID')`` for :func:`box_voting` or None for no voting.

    Raises:
        TypeError: the detector has no RoI head, or ``tta_cfg`` a key that is not known.
    """

    def __init__(self, module, tta_cfg: dict | None = None, **kwargs) -> None:
        super().__init__(module=module, **kwargs)
        if not (hasattr(self.module, 'rpn_head') and hasattr(self.module, 'roi_head')):
            raise TypeError(
                f'DetectronTTAModel needs a detector with rpn_head and roi_head, and {type(self.module).__name__} is '
                "none; use tta_model = dict(type='DetTTAModel', …)"
            )
        unknown = set(tta_cfg or {}) - {'nms', 'max_per_img', 'vote'}
        if unknown:
            raise TypeError(f'tta_cfg of DetectronTTAModel knows nms, max_per_img and vote, not {sorted(unknown)}')
        self.rcnn = self.module.roi_head.test_cfg
        self.tta_cfg = dict(nms=self.rcnn.nms, max_per_img=self.rcnn.max_per_img, vote=None) | dict(tta_cfg or {})

    def test_step(self, data: dict) -> list[DetDataSample]:
        """Detect on all views of a batch of images.

        Args:
            data: as from ``TestTimeAug`` and ``pseudo_collate``: for each view the ``inputs`` and ``data_samples`` of
                all images.

        Returns:
            One sample for each image, with ``pred_instances``: ``bboxes`` (n, 4) float32, ``scores`` (n,), ``labels``
            (n,) int64, and, from a detector with masks, ``masks`` (n, H, W) bool, all in the coordinates of the
            original image.
        """
        views = [{key: value[index] for key, value in data.items()} for index in range(len(data['inputs']))]
        found = [self._boxes(view) for view in views]
        merged = self.merge_preds(list(zip(*found, strict=True)))
        if self.module.with_mask:
            self._add_masks(views, merged)
        return merged

    def _features(self, view: dict) -> tuple[tuple[Tensor, ...], list[DetDataSample]]:
        view = self.module.data_preprocessor(view, False)
        return self.module.extract_feat(view['inputs']), view['data_samples']

    def _boxes(self, view: dict) -> list[DetDataSample]:
        """What one view says of each image: all boxes above the threshold, in the image's coordinates."""
        features, samples = self._features(view)
        metas = [sample.metainfo for sample in samples]
        proposals = self.module.rpn_head.predict(features, samples, rescale=False)
        # Without a config there is no NMS: boxes (R, 4 * classes), scores (R, classes + 1) with background.
        raw = self.module.roi_head.predict_bbox(features, metas, proposals, rcnn_test_cfg=None, rescale=False)
        for sample, one, meta in zip(samples, raw, metas, strict=True):
            scores_RC = one.scores[:, :-1]
            above_RC = scores_RC > self.rcnn.score_thr
            boxes_RC4 = one.bboxes.reshape(len(scores_RC), one.bboxes.shape[1] // 4, 4).expand(*scores_RC.shape, 4)
            sample.pred_instances = InstanceData(
                bboxes=boxes_from_view(boxes_RC4[above_RC], meta),
                scores=scores_RC[above_RC],
                labels=above_RC.nonzero()[:, 1],
            )
        return samples

    def merge_preds(self, data_samples_list: list[tuple[DetDataSample, ...]]) -> list[DetDataSample]:
        """For each image, merge the boxes of its views.

        Args:
            data_samples_list: for each image its views, with ``pred_instances`` before NMS in the image's coordinates.

        Returns:
            One sample for each image, with the final boxes.
        """
        return [self._merge(samples) for samples in data_samples_list]

    def _merge(self, samples: tuple[DetDataSample, ...]) -> DetDataSample:
        instances = [sample.pred_instances for sample in samples]
        pool = [torch.cat([one[key] for one in instances]) for key in ('bboxes', 'scores', 'labels')]
        if len(samples) > 1:
            pool = sorted_by_content(*pool)
        boxes, scores, labels = pool
        if len(boxes):
            kept, index = batched_nms(boxes, scores, labels, self.tta_cfg['nms'])
            kept, kept_scores, kept_labels = kept[:, :4], kept[:, 4], labels[index]
            if len(samples) > 1 and self.tta_cfg['vote'] is not None:
                kept, kept_scores = box_voting(
                    kept, kept_scores, kept_labels, boxes, scores, labels, **self.tta_cfg['vote']
                )
                order = kept_scores.argsort(stable=True, descending=True)
                kept, kept_scores, kept_labels = kept[order], kept_scores[order], kept_labels[order]
            best = slice(None) if self.tta_cfg['max_per_img'] < 0 else slice(self.tta_cfg['max_per_img'])
            boxes, scores, labels = kept[best], kept_scores[best], kept_labels[best]

        first = samples[0]
        meta = {key: value for key, value in first.metainfo.items() if key not in _OF_A_VIEW}
        merged = DetDataSample(metainfo=dict(meta, img_shape=first.ori_shape, scale_factor=(1.0, 1.0)))
        # Of the image and not of the view: the pipeline loads annotations after resizing and flipping.
        for key in ('gt_instances', 'ignored_instances'):
            if key in first:
                merged.set_field(first.get(key), key)
        merged.pred_instances = InstanceData(bboxes=boxes, scores=scores, labels=labels)
        return merged

    def _add_masks(self, views: list[dict], merged: list[DetDataSample]) -> None:
        instances = [sample.pred_instances for sample in merged]
        numbers = [len(one) for one in instances]
        mean = [torch.zeros(0)] * len(instances)
        if sum(numbers):
            total = sum(self._masks(view, instances) for view in views)
            mean = (total.double() / (_FRACTION * len(views))).float().split(numbers)
        head = self.module.roi_head.mask_head
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        for sample, one, cells in zip(merged, instances, mean, strict=True):
            # The class is chosen already, and pasting scales the boxes that it gets in place.
            boxes = InstanceData(bboxes=one.bboxes.clone(), labels=torch.zeros_like(one.labels))
            (pasted,) = head.predict_by_feat(
                # An array, as in mmdet's own cascade: a tensor would be copied with a warning.
                [cells[:, None].cpu().numpy() if len(one) else cells],
                [boxes],
                [sample.metainfo],
                self.rcnn,
                rescale=True,
                activate_map=True,
            )
            one.masks = pasted.masks

    def _masks(self, view: dict, instances: list[InstanceData]) -> Tensor:
        """Fixed-point probabilities (boxes of all images, h, w) int64 of the final boxes in one view, not flipped."""
        features, samples = self._features(view)
        head = self.module.roi_head
        metas = [sample.metainfo for sample in samples]
        rois = bbox2roi([boxes_to_view(one.bboxes, meta) for one, meta in zip(instances, metas, strict=True)])
        if isinstance(head.mask_head, nn.ModuleList):  # mmdet's cascade, which averages its stages
            stages = [head._mask_forward(stage, features, rois)['mask_preds'] for stage in range(head.num_stages)]
            probabilities = torch.stack([one.float().sigmoid() for one in stages]).mean(0)
        else:
            probabilities = head._mask_forward(features, rois)['mask_preds'].float().sigmoid()
        if probabilities.shape[1] > 1:
            labels = torch.cat([one.labels for one in instances])
            probabilities = probabilities[torch.arange(len(labels), device=labels.device), labels]
        else:
            probabilities = probabilities[:, 0]
        upright = []
        for one, meta in zip(probabilities.split([len(one) for one in instances]), metas, strict=True):
            upright.append(one.flip(_FLIPPED[meta['flip_direction']]) if meta.get('flip') else one)
        return (torch.cat(upright).double() * _FRACTION).round().long()
