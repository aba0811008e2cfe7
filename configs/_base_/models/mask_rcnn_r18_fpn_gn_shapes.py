"""Mask R-CNN R18-FPN with GN for shapes: the model of study A, made as small as small images and two cores ask for.

The structure is that of mask_rcnn_r50_fpn_gn.py, with MMDetection's conventions; the backbone is half as wide, FPN and
heads an eighth, and an image gives fewer proposals and RoIs, which is where the time goes.
"""

_base_ = './mask_rcnn_r50_fpn_gn_mmdet.py'

norm_cfg = dict(type='GN', num_groups=16, requires_grad=True)
channels = 32
model = dict(
    # The classifier's: these weights come from tools/train.py, not from Detectron.
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0]),
    backbone=dict(
        depth=18,
        base_channels=32,
        norm_cfg=norm_cfg,
        init_cfg=dict(checkpoint='work_dirs/classifier_r18_gn/iter_600.pth', prefix='backbone.'),
    ),
    # Objects of 12 to 50 pixels: anchors of 16 to 128 on four levels.
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, num_outs=4, norm_cfg=norm_cfg),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            in_channels=channels,
            conv_out_channels=channels,
            fc_out_channels=256,
            norm_cfg=norm_cfg,
            num_classes=5,
        ),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(
            in_channels=channels,
            conv_out_channels=channels,
            norm_cfg=norm_cfg,
            num_classes=5,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=150, max_per_img=100),
        rcnn=dict(sampler=dict(num=16)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=150, max_per_img=50),
        rcnn=dict(max_per_img=30),
    ),
)
