"""The keypoint head of Mask R-CNN on MMDetection's two-stage detectors."""

import torch
from mmcv.cnn import ConvModule
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from .keypoint_ops import decode_keypoints, encode_keypoints


@MODELS.register_module()
class KeypointRCNNHead(BaseModule):
    """Detectron's keypoint head: convolutions, a deconvolution to one heat map for each keypoint, bilinear upscaling.

    Mask R-CNN (He et al. 2017), section 5; Detectron's ``add_roi_pose_head_v1convX`` and
    ``add_keypoint_outputs`` with ``USE_DECONV_OUTPUT``.

    Args:
        num_keypoints: K.
        num_convs: 3x3 convolutions, each followed by ReLU.
        in_channels: of the RoI features.
        conv_out_channels: of the convolutions.
        upscale: of the bilinear interpolation after the deconvolution, which doubles.
        norm_cfg: normalisation after each convolution; Detectron's head has none.
        loss_weight: of the loss.
        init_cfg: by default MSRA (He et al. 2015, normal, fan out) for convolutions and deconvolution.
    """

    def __init__(
        self,
        num_keypoints: int = 17,
        num_convs: int = 8,
        in_channels: int = 256,
        conv_out_channels: int = 512,
        upscale: int = 2,
        norm_cfg: dict | None = None,
        loss_weight: float = 1.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        if init_cfg is None:
            msra = dict(type='Kaiming', a=0, mode='fan_out', nonlinearity='relu', distribution='normal')
            init_cfg = dict(msra, layer=['Conv2d', 'ConvTranspose2d'])
        super().__init__(init_cfg=init_cfg)
        self.num_keypoints = num_keypoints
        self.upscale = upscale
        self.loss_weight = loss_weight
        widths = [in_channels] + [conv_out_channels] * num_convs
        self.convs = nn.Sequential(
            *(ConvModule(a, b, 3, padding=1, norm_cfg=norm_cfg) for a, b in zip(widths, widths[1:], strict=False))
        )
        self.deconv = nn.ConvTranspose2d(widths[-1], num_keypoints, 4, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Heat maps, logits of (N, K, 2·upscale·H, 2·upscale·W), from RoI features of (N, in_channels, H, W)."""
        maps = self.deconv(self.convs(features))
        if self.upscale == 1 or not len(maps):  # interpolation refuses a batch of nothing
            return maps
        return F.interpolate(maps, scale_factor=float(self.upscale), mode='bilinear', align_corners=False)

    def loss(self, maps: Tensor, cells: Tensor, valid: Tensor) -> Tensor:
        """Softmax cross-entropy over the cells of each heat map, averaged over the keypoints that count.

        Detectron's ``NORMALIZE_BY_VISIBLE_KEYPOINTS``, its default. In float32 also in mixed precision.

        Args:
            maps: (N, K, S, S), logits.
            cells: (N, K), int64, where in a map the keypoint is, as ``row * S + column``.
            valid: (N, K), bool, the keypoints that count; without any the loss is 0, and still connected to ``maps``.
        """
        with torch.autocast(maps.device.type, enabled=False):
            logits = maps.flatten(2).float()
            if not valid.any():
                return logits.sum() * 0
            return self.loss_weight * F.cross_entropy(logits[valid], cells[valid])


@MODELS.register_module()
class KeypointRoIHead(StandardRoIHead):
    """MMDetection's RoI head, with a branch for keypoints beside that for boxes (and that for masks, if there is one).

    Boxes are those of the same detector without keypoints. Predictions gain ``keypoints``, float32 of (N, K, 2), x and
    y in the image's coordinates (continuous, as boxes), and ``keypoint_scores``, float32 of (N, K), logits of the heat
    maps.

    Args:
        keypoint_roi_extractor: config of the RoI extractor of the branch.
        keypoint_head: config of the head, such as :class:`KeypointRCNNHead`.
        kwargs: as in :class:`StandardRoIHead`.
    """

    def __init__(self, keypoint_roi_extractor: dict, keypoint_head: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.keypoint_roi_extractor = MODELS.build(keypoint_roi_extractor)
        self.keypoint_head = MODELS.build(keypoint_head)

    def forward(self, x, rpn_results_list, batch_data_samples=None) -> tuple:
        """Raw outputs, for counting operations: those of the base class, and the heat maps of up to 100 RoIs."""
        rois = bbox2roi([one.bboxes for one in rpn_results_list])[:100]
        return (*super().forward(x, rpn_results_list, batch_data_samples), self.keypoint_maps(x, rois))

    def keypoint_maps(self, x, rois: Tensor) -> Tensor:
        """Heat maps of RoIs: logits of (N, K, S, S).

        Args:
            x: feature maps of the neck.
            rois: (N, 5), index of the image in the batch, x1, y1, x2, y2, in coordinates of the network's input.
        """
        extractor = self.keypoint_roi_extractor
        return self.keypoint_head(extractor(x[: extractor.num_inputs], rois))

    def loss(self, x, rpn_results_list, batch_data_samples) -> dict:
        """The losses of the base class and ``loss_keypoint``.

        Args:
            x: feature maps of the neck.
            rpn_results_list: proposals of each image.
            batch_data_samples: with ``gt_instances.keypoints``, float32 of (N, K, 3).
        """
        truth, ignored, _ = unpack_gt_instances(batch_data_samples)
        sampled, people = [], []
        for index, (proposals, gt, gt_ignored) in enumerate(zip(rpn_results_list, truth, ignored, strict=True)):
            proposals.priors = proposals.pop('bboxes')
            assigned = self.bbox_assigner.assign(proposals, gt, gt_ignored)
            features = [level[index][None] for level in x]
            sampled.append(self.bbox_sampler.sample(assigned, proposals, gt, feats=features))
            people.append(self.keypoint_targets(assigned.gt_inds, proposals.priors, gt))
        boxes = self.bbox_loss(x, sampled)
        losses = dict(boxes['loss_bbox'])
        if self.with_mask:
            losses.update(self.mask_loss(x, sampled, boxes['bbox_feats'], truth)['loss_mask'])
        losses['loss_keypoint'] = self.keypoint_loss(x, people)
        return losses

    def keypoint_targets(self, assigned: Tensor, proposals: Tensor, gt) -> tuple[Tensor, Tensor, Tensor]:
        """The RoIs of an image that keypoints are learned from, with the cell of each keypoint and whether it counts.

        As in Detectron (``add_keypoint_rcnn_blobs``): of all foreground RoIs, and not only of those that the sampler
        has drawn for the box head, the ones that a labelled keypoint of their person lies in; where there are more
        than the box head may have foreground, so many are drawn.

        Args:
            assigned: (R,), int64, for each RoI 1 + the number of its person, 0 background, -1 neither; the objects
                themselves come first where the sampler has added them.
            proposals: (P, 4), in coordinates of the network's input.
            gt: ground truth of the image, with ``bboxes`` and ``keypoints``.

        Returns:
            RoIs (N, 4), cells (N, K) and validity (N, K), as of :func:`encode_keypoints`.
        """
        boxes = torch.cat([gt.bboxes, proposals]) if len(assigned) > len(proposals) else proposals
        foreground = (assigned > 0).nonzero().squeeze(1)
        size = self.keypoint_roi_extractor.roi_layers[0].output_size[0] * 2 * self.keypoint_head.upscale
        cells, valid = encode_keypoints(gt.keypoints[assigned[foreground] - 1], boxes[foreground], size)
        useful = valid.any(1).nonzero().squeeze(1)
        most = int(self.bbox_sampler.num * self.bbox_sampler.pos_fraction)
        if len(useful) > most:
            useful = useful[torch.randperm(len(useful))[:most].to(useful.device)]
        return boxes[foreground[useful]], cells[useful], valid[useful]

    def keypoint_loss(self, x, people: list) -> Tensor:
        """The loss of the keypoint head.

        Without a RoI in the batch the head still takes part, so that processes that train together agree on what has
        a gradient.

        Args:
            people: :meth:`keypoint_targets` of each image.
        """
        rois, cells, valid = zip(*people, strict=True)
        maps = self.keypoint_maps(x, bbox2roi(list(rois)))
        return self.keypoint_head.loss(maps, torch.cat(cells), torch.cat(valid))

    def predict(self, x, rpn_results_list, batch_data_samples, rescale: bool = False) -> list:
        """Boxes as in the base class, each with keypoints.

        Heat maps are enlarged to the size of the box in the coordinates of the result, that is in the image's own
        with ``rescale``, as in Detectron.
        """
        results = super().predict(x, rpn_results_list, batch_data_samples, rescale=rescale)
        boxes = []
        for result, sample in zip(results, batch_data_samples, strict=True):
            boxes.append(to_input(result.bboxes, sample.metainfo) if rescale else result.bboxes)
        maps = self.keypoint_maps(x, bbox2roi(boxes)).split([len(result) for result in results])
        for result, one in zip(results, maps, strict=True):
            result.keypoints, result.keypoint_scores = decode_keypoints(one, result.bboxes)
        return results


def to_input(boxes: Tensor, metainfo: dict) -> Tensor:
    """Boxes of (N, 4) from the coordinates of the image to those of the network's input."""
    return boxes * boxes.new_tensor(metainfo['scale_factor']).repeat(2)
