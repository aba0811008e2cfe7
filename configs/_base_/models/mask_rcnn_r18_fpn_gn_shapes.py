"""Mask R-CNN R18-FPN with GN for shapes: the model of study A, made as narrow as small images allow."""

_base_ = './mask_rcnn_r50_fpn_gn.py'

num_classes = 5
model = dict(
    # The classifier's mean and deviation: these weights come from tools/train.py, not from Detectron.
    data_preprocessor=dict(
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
    ),
    backbone=dict(
        depth=18,
        init_cfg=dict(checkpoint='work_dirs/classifier_r18_gn/iter_600.pth', prefix='backbone.'),
    ),
    # Objects of 12 to 50 pixels: anchors of 16 to 128 on four levels.
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=256,
            num_classes=num_classes,
        ),
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(in_channels=64, conv_out_channels=64, num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=300, max_per_img=100),
        rcnn=dict(max_per_img=30),
    ),
)
