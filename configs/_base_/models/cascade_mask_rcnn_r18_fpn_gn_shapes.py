"""Cascade Mask R-CNN R18-FPN with GN for shapes: as cascade_mask_rcnn_r50_fpn_gn.py, made small."""

_base_ = ['./mask_rcnn_r18_fpn_gn_shapes.py', './cascade_stages.py']

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
        rcnn=[dict(_base_.model.train_cfg.rcnn, assigner=assigner) for assigner in _base_.stage_assigners],
    ),
)
