"""Faster R-CNN VGG-16 for shapes: all 13 convolutions, a quarter as wide, and smaller fully connected layers.

From random weights: there is no small VGG to fine-tune. With MMDetection's conventions, as the other miniatures.
"""

_base_ = ['./faster_rcnn_vgg16.py', './mmdet_conventions.py']

usual = _base_.mmdet_model

channels = 128
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], bgr_to_rgb=False),
    backbone=dict(base_channels=channels // 8, frozen_stages=-1, init_cfg=None),
    # Objects of 12 to 50 pixels: anchors of 16 to 64.
    rpn_head=dict(
        usual.rpn_head,
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[1, 2, 4]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            usual.roi_head.bbox_head,
            in_channels=channels,
            fc_out_channels=256,
            num_classes=5,
            init_cfg=_base_.random_head,
        ),
    ),
    train_cfg=dict(
        rpn=dict(usual.train_cfg.rpn, sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=150, max_per_img=100),
        rcnn=dict(assigner=dict(ignore_iof_thr=-1), sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=150, max_per_img=50),
        rcnn=dict(max_per_img=30),
    ),
)
