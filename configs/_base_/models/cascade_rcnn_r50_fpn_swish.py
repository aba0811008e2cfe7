"""Cascade R-CNN of faster_rcnn_r50_fpn_swish.py: stages at IoU 0.5, 0.7 and 0.8, one box for all classes.

The class scores of the stages are averaged. Deviations of boxes and loss weights of stages are those of Cascade R-CNN.
"""

_base_ = ['./faster_rcnn_r50_fpn_swish.py', './cascade_stages.py']

stage_ious = [0.5, 0.7, 0.8]
stage_assigners = [
    dict(_base_.stage_assigners[0], pos_iou_thr=iou, neg_iou_thr=iou, min_pos_iou=iou) for iou in stage_ious
]
model = dict(
    roi_head=dict(
        type='CascadeRoIHead',
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
        rcnn=[dict(_base_.model.train_cfg.rcnn, assigner=assigner) for assigner in stage_assigners],
    ),
)
