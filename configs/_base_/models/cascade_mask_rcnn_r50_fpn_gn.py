"""Cascade Mask R-CNN R50-FPN with GN: the Mask R-CNN of study A with three stages and a mask head on the last.

Rethinking ImageNet Pre-training, section 5.1. Each stage has the box head of the Mask R-CNN (4 convolutions, 1 fully
connected, GN); boxes are regressed for all classes at once, as in Cascade R-CNN.
"""

_base_ = ['./mask_rcnn_r50_fpn_gn.py', './cascade_stages.py']

model = dict(
    roi_head=dict(
        type='LastStageMaskCascadeRoIHead',
        num_stages=3,
        stage_loss_weights=_base_.stage_loss_weights,
        bbox_head=[
            dict(
                _base_.model.roi_head.bbox_head,
                bbox_coder=dict(_base_.model.roi_head.bbox_head.bbox_coder, target_stds=stds),
                reg_class_agnostic=True,
            )
            for stds in _base_.stage_stds
        ],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                _base_.model.train_cfg.rcnn,
                assigner=dict(assigner, ignore_iof_thr=_base_.model.train_cfg.rcnn.assigner.ignore_iof_thr),
            )
            for assigner in _base_.stage_assigners
        ],
    ),
)
