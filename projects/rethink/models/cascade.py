"""Cascade R-CNN with one mask head, on the last stage.

Cascade R-CNN, https://arxiv.org/abs/1712.00726; Rethinking ImageNet Pre-training, section 5.1: "cascade R-CNN with a
mask head on the last stage only".
"""

import torch
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi


@MODELS.register_module()
class LastStageMaskCascadeRoIHead(CascadeRoIHead):
    """``CascadeRoIHead`` with a single mask head, trained on the last stage's boxes and used on the final ones.

    mmdet's cascade has a mask head in each stage, weights its loss as the stage's, and averages the masks. Here
    ``mask_head`` and ``mask_roi_extractor`` are one module each, named as in ``StandardRoIHead``, so that they go on
    from those of a Mask R-CNN. The loss of the mask is that of Mask R-CNN too, and not reduced by the stage's weight.

    Args: those of ``CascadeRoIHead``; ``mask_head`` and ``mask_roi_extractor`` are one config each, not a list.
    """

    # The mask half of a Mask R-CNN, as it is.
    init_mask_head = StandardRoIHead.init_mask_head
    _mask_forward = StandardRoIHead._mask_forward
    predict_mask = StandardRoIHead.predict_mask

    def mask_loss(self, stage: int, x, sampling_results, batch_gt_instances) -> dict:
        """The mask loss on the positive RoIs of the last stage; no loss in the others.

        Args:
            stage: from 0.
            x: feature maps, each (B, C, H, W).
            sampling_results: the RoIs of the stage, for each image.
            batch_gt_instances: with ``masks``, for each image.

        Returns:
            ``dict(loss_mask=dict(loss_mask=…))``, the inner one empty in the stages before the last.
        """
        if stage < self.num_stages - 1:
            return dict(loss_mask={})
        results = self._mask_forward(x, bbox2roi([one.pos_priors for one in sampling_results]))
        found = self.mask_head.loss_and_target(
            mask_preds=results['mask_preds'],
            sampling_results=sampling_results,
            batch_gt_instances=batch_gt_instances,
            rcnn_train_cfg=self.train_cfg[stage],
        )
        # What calls this multiplies by the weight of the stage, which is one of boxes.
        weight = self.stage_loss_weights[stage]
        return dict(loss_mask={key: value / weight for key, value in found['loss_mask'].items()})

    def forward(self, x, rpn_results_list, batch_data_samples) -> tuple:
        """Raw outputs: scores and box deltas of the last stage for each image, and mask logits (RoIs, classes, h, w).

        Args:
            x: feature maps, each (B, C, H, W).
            rpn_results_list: proposals (R, 4) of each image, in pixels of the network's input.
            batch_data_samples: the images' meta information.
        """
        proposals = [one.bboxes for one in rpn_results_list]
        metas = [sample.metainfo for sample in batch_data_samples]
        rois, scores, deltas = self._refine_roi(x, bbox2roi(proposals), metas, tuple(map(len, proposals)))
        results = (scores, deltas)
        if self.with_mask:
            results += (self._mask_forward(x, torch.cat(rois))['mask_preds'],)
        return results
