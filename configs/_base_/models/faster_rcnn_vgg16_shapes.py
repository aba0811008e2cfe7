"""Faster R-CNN VGG-16 for shapes: all 13 convolutions, a quarter as wide, and smaller fully connected layers.

From random weights: there is no small VGG to fine-tune.
"""

_base_ = './faster_rcnn_vgg16.py'

channels = 128
model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], bgr_to_rgb=False),
    backbone=dict(base_channels=channels // 8, frozen_stages=-1, init_cfg=None),
    # Objects of 12 to 50 pixels: anchors of 16 to 64.
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[1, 2, 4]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(
            in_channels=channels,
            fc_out_channels=256,
            num_classes=5,
            init_cfg=_base_.random_head,
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=150, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=150, max_per_img=50),
        rcnn=dict(max_per_img=30),
    ),
)
