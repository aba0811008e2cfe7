"""Stock parts with less work in a training step, and the same numbers; ``SteadyRunner`` puts them in on a CPU.

A part of exactly MMDetection's or PyTorch's class becomes the one here when a model is passed to :func:`quicken`; what
a config, a checkpoint or an export says stays the stock one.
"""

import copy

import torch
from mmcv.ops import batched_nms, roi_align
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

__all__ = ['ChannelsLastMaxPool2d', 'QuickDetDataPreprocessor', 'QuickFCNMaskHead', 'QuickRPNHead', 'quicken']


def quicken(model: nn.Module) -> None:
    """Let each part of a model that is of a class below be this module's, in place."""
    of = {
        DetDataPreprocessor: QuickDetDataPreprocessor,
        RPNHead: QuickRPNHead,
        FCNMaskHead: QuickFCNMaskHead,
        nn.MaxPool2d: ChannelsLastMaxPool2d,
    }
    for module in model.modules():
        module.__class__ = of.get(type(module), type(module))


class SharingSample(DetDataSample):
    """A ``DetDataSample`` whose copies, deep ones too, have fields of their own and share what these hold.

    ``TwoStageDetector`` makes a deep copy of a batch to give its RPN other labels.
    """

    @classmethod
    def of(cls, sample: DetDataSample) -> 'SharingSample':
        """A copy of a sample."""
        found = _shallow(sample)
        for name, value in vars(sample).items():
            if isinstance(value, InstanceData):
                vars(found)[name] = _shallow(value)
        object.__setattr__(found, '__class__', cls)  # an attribute set on a sample is a field of it
        return found

    def __deepcopy__(self, memo: dict) -> 'SharingSample':
        return self.of(self)


def _shallow(element: BaseDataElement) -> BaseDataElement:
    found = copy.copy(element)
    for fields in ('_metainfo_fields', '_data_fields'):
        vars(found)[fields] = set(getattr(element, fields))
    return found


class QuickDetDataPreprocessor(DetDataPreprocessor):
    """``DetDataPreprocessor`` that does not copy, on a CPU, what is on the CPU."""

    def cast_data(self, data):
        """MMEngine's, but for a batch's samples."""
        samples = data.get('data_samples') if isinstance(data, dict) else None
        if self.device.type != 'cpu' or not samples or any(type(one) is not DetDataSample for one in samples):
            return super().cast_data(data)
        rest = {key: value for key, value in data.items() if key != 'data_samples'}
        return super().cast_data(rest) | dict(data_samples=[SharingSample.of(sample) for sample in samples])


class QuickRPNHead(RPNHead):
    """``RPNHead`` that works out the proposals of all images at once, up to NMS.

    In mixed precision the proposals are float32. MMDetection's are of the dtype of the scores: anchors, and with them
    proposals, in bfloat16, whose steps are 4 pixels from 512 on and 8 from 1024 on.
    """

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors=None,
        batch_img_metas: list[dict] | None = None,
        cfg=None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Proposals of each image.

        Args:
            cls_scores: of each level (B, A, H, W), with a sigmoid to come.
            bbox_preds: of each level (B, 4 * A, H, W).
            score_factors: as all others, see ``BaseDenseHead.predict_by_feat``.
            batch_img_metas: see there.
            cfg: see there.
            rescale: see there.
            with_nms: see there.
        """
        cls_scores, bbox_preds = ([_wide(one.detach()) for one in level] for level in (cls_scores, bbox_preds))
        cfg = self.test_cfg if cfg is None else cfg
        if rescale or not with_nms or self.cls_out_channels != 1 or type(self.bbox_coder) is not DeltaXYWHBBoxCoder:
            return super().predict_by_feat(
                cls_scores, bbox_preds, score_factors, batch_img_metas, cfg, rescale, with_nms
            )
        all_priors = self.prior_generator.grid_priors(
            [scores.shape[-2:] for scores in cls_scores], dtype=cls_scores[0].dtype, device=cls_scores[0].device
        )
        number, most = len(batch_img_metas), cfg.get('nms_pre', -1)
        scores, deltas, priors, levels = [], [], [], []
        for level, (logits, delta, prior) in enumerate(zip(cls_scores, bbox_preds, all_priors, strict=True)):
            score = logits.permute(0, 2, 3, 1).reshape(number, -1).sigmoid()
            delta = delta.permute(0, 2, 3, 1).reshape(number, -1, 4)
            if 0 < most < score.size(1):
                score, best = (one[:, :most] for one in score.sort(descending=True))
                delta = delta.gather(1, best[..., None].expand(-1, -1, 4))
                prior = prior[best]
            else:
                prior = prior.expand(number, -1, -1)
            scores.append(score)
            deltas.append(delta)
            priors.append(prior)
            levels.append(score.new_full(score.shape[1:], level, dtype=torch.long))
        scores, levels = torch.cat(scores, 1), torch.cat(levels)
        boxes = self.bbox_coder.decode(torch.cat(priors, 1).flatten(0, 1), torch.cat(deltas, 1).flatten(0, 1))
        boxes = boxes.view(number, -1, 4)
        if self.bbox_coder.clip_border:
            size = boxes.new_tensor([meta['img_shape'][1::-1] * 2 for meta in batch_img_metas])
            boxes = torch.minimum(boxes.clamp(min=0), size[:, None])
        smallest = cfg.get('min_bbox_size', -1)
        large = (boxes[..., 2:] - boxes[..., :2] > smallest).all(-1) if smallest >= 0 else None
        every = large is None or bool(large.all())
        found = []
        for image in range(number):
            box, score, level = boxes[image], scores[image], levels
            if not every:
                box, score, level = (one[large[image]] for one in (box, score, level))
            if len(box):
                dets, keep = batched_nms(box, score, level, cfg.nms)
                box, score = box[keep[: cfg.max_per_img]], dets[: cfg.max_per_img, -1]
            found.append(InstanceData(bboxes=box, scores=score, labels=score.new_zeros(len(score), dtype=torch.long)))
        return found

    def _get_targets_single(self, flat_anchors, valid_flags, gt_instances, img_meta, ignored=None, unmap_outputs=True):
        # Where no anchor is left out there is nothing to put back.
        everywhere = self.train_cfg['allowed_border'] < 0 and bool(valid_flags.all())
        return super()._get_targets_single(
            flat_anchors, valid_flags, gt_instances, img_meta, ignored, unmap_outputs and not everywhere
        )


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


class QuickFCNMaskHead(FCNMaskHead):
    """``FCNMaskHead`` whose targets are cropped from the masks of the batch, in place of a copy for each RoI."""

    def get_targets(self, sampling_results: list, batch_gt_instances: list[InstanceData], rcnn_train_cfg) -> Tensor:
        """Targets of the positive RoIs of all images, float (R, mask_size, mask_size)."""
        masks = [instances.masks for instances in batch_gt_instances]
        priors = [result.pos_priors for result in sampling_results]
        if (
            not all(isinstance(one, BitmapMasks) for one in masks)
            or len({(one.height, one.width) for one in masks}) > 1
            or not sum(map(len, priors))
        ):
            return super().get_targets(sampling_results, batch_gt_instances, rcnn_train_cfg)
        device, dtype = priors[0].device, priors[0].dtype
        first, rois = 0, []
        for mask, prior, result in zip(masks, priors, sampling_results, strict=True):
            rois.append(torch.cat([(first + result.pos_assigned_gt_inds)[:, None].to(dtype), prior], 1))
            first += len(mask)
        rois = torch.cat(rois)
        size = rois.new_tensor([masks[0].width, masks[0].height] * 2)
        rois[:, 1:] = torch.minimum(rois[:, 1:].clamp(min=0), size)
        bitmaps = torch.cat([torch.from_numpy(mask.masks) for mask in masks if len(mask)]).to(device)
        cropped = roi_align(bitmaps[:, None].to(dtype), rois, _pair(rcnn_train_cfg.mask_size), 1.0, 0, 'avg', True)
        cropped = cropped.squeeze(1)
        return cropped.float() if rcnn_train_cfg.get('soft_mask_target', False) else (cropped >= 0.5).float()


class ChannelsLastMaxPool2d(nn.MaxPool2d):
    """``nn.MaxPool2d`` whose maximum is taken in PyTorch's kernel for channels-last features, on a CPU.

    That kernel takes a tenth of the time of the other one, which does not use the CPU's vectors; backward it is the
    other one that is fast. Features, results and gradients are as of ``nn.MaxPool2d``, to the bit, equal values too.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.return_indices or x.device.type != 'cpu' or x.ndim != 4 or not x.is_contiguous():
            return super().forward(x)
        return _MaxPool.apply(x, (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode))


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, window: tuple) -> Tensor:
        pairs = [[value, value] if isinstance(value, int) else list(value) for value in window[:4]]
        ctx.window = (*pairs, window[4])
        pooled, indices = torch.ops.aten.max_pool2d_with_indices(
            x.contiguous(memory_format=torch.channels_last), *ctx.window
        )
        ctx.save_for_backward(x, indices.contiguous())
        return pooled.contiguous()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        x, indices = ctx.saved_tensors
        return torch.ops.aten.max_pool2d_with_indices_backward(grad.contiguous(), x, *ctx.window, indices), None
