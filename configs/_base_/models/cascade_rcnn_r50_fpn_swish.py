"""Cascade R-CNN of faster_rcnn_r50_fpn_swish.py: stages at IoU 0.5, 0.7 and 0.8, one box for all classes.

As the framework has it: the loss is the mean over the three stages, the second and third take all RoIs of the one
before them, without any sampling and without adding ground truth again, and class scores are averaged.
"""

_base_ = './faster_rcnn_r50_fpn_swish.py'

stage_ious = [0.5, 0.7, 0.8]
stage_stds = [[1 / scale, 1 / scale, 2 / scale, 2 / scale] for scale in (10, 20, 30)]
stage_samplers = [_base_.model.train_cfg.rcnn.sampler] + 2 * [dict(type='PseudoSampler')]
model = dict(
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=3 * [1 / 3],
        bbox_head=[
            dict(
                _base_.model.roi_head.bbox_head,
                bbox_coder=dict(_base_.model.roi_head.bbox_head.bbox_coder, target_stds=stds),
                reg_class_agnostic=True,
            )
            for stds in stage_stds
        ],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                _base_.model.train_cfg.rcnn,
                assigner=dict(_base_.model.train_cfg.rcnn.assigner, pos_iou_thr=iou, neg_iou_thr=iou, min_pos_iou=iou),
                sampler=sampler,
            )
            for iou, sampler in zip(stage_ious, stage_samplers, strict=True)
        ],
    ),
)
