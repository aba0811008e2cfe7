"""Mask R-CNN R18-C4 with SyncBN for shapes: mask_rcnn_r50_c4_syncbn.py, made as small as small images ask for.

The backbone is that of moco_r18_shapes.py, half as wide, and sees pixels as it does. RoIs are 8 x 8, and an image
gives fewer of them, as res5 on RoIs is where the time goes.
"""

_base_ = './mask_rcnn_r50_c4_syncbn.py'

model = dict(
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], bgr_to_rgb=False),
    backbone=dict(depth=18, stem_channels=32, base_channels=32),
    # Objects of 12 to 50 pixels: anchors of 16 to 64.
    rpn_head=dict(in_channels=128, feat_channels=128, anchor_generator=dict(scales=[1, 2, 4])),
    roi_head=dict(
        shared_head=dict(depth=18, base_channels=32),
        bbox_roi_extractor=dict(roi_layer=dict(output_size=8), out_channels=128),
        bbox_head=dict(roi_feat_size=4, in_channels=256, num_classes=5),
        mask_head=dict(in_channels=256, conv_out_channels=64, num_classes=5),
    ),
    train_cfg=dict(
        # MMDetection's least IoU of a best anchor, with which docs/shapes.md was measured.
        rpn=dict(assigner=dict(min_pos_iou=0.3), sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=150, max_per_img=100),
        rcnn=dict(sampler=dict(num=16), mask_size=8),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=150, max_per_img=50),
        rcnn=dict(max_per_img=30),
    ),
)
