"""Cascade R-CNN R18-NAS-FPN with GN for the long tail of shapes: the backbone of the FPN detector, more after it.

NAS-FPN of 48 channels, twice over five levels, and a cascade of three class-agnostic heads of 2 fully connected
layers, their class scores averaged, as in the released configs of study C; 46 % of the parameters are outside the
backbone. What else is released of the cascade (the mean of the losses, no sampling in later stages) is in
cascade_rcnn_r50_fpn_swish.py; here it is MMDetection's, with which docs/shapes.md was measured.
"""

_base_ = ['./faster_rcnn_r18_fpn_gn_tail_shapes.py', './cascade_stages.py']

channels = 48
model = dict(
    neck=dict(
        type='NASFPN',
        out_channels=channels,
        num_outs=5,
        stack_times=2,
    ),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(strides=[4, 8, 16, 32, 64]),
    ),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=_base_.stage_loss_weights,
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                in_channels=channels,
                fc_out_channels=256,
                roi_feat_size=7,
                num_classes=10,
                bbox_coder=dict(_base_.model.roi_head.bbox_head.bbox_coder, target_stds=stds),
                reg_class_agnostic=True,
                loss_cls=_base_.model.roi_head.bbox_head.loss_cls,
                loss_bbox=_base_.model.roi_head.bbox_head.loss_bbox,
            )
            for stds in _base_.stage_stds
        ],
    ),
    train_cfg=dict(
        rcnn=[dict(_base_.model.train_cfg.rcnn, assigner=assigner) for assigner in _base_.stage_assigners],
    ),
)
