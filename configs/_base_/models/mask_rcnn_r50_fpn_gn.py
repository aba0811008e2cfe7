"""Mask R-CNN R50-FPN with group normalisation in backbone, FPN, box head and mask head.

Rethinking ImageNet Pre-training, section 4, which builds on Detectron's GN baselines: 32 groups, a box head of 4
convolutions and 1 fully connected layer, a mask head of 4 convolutions, RoIAlign with sampling ratio 2, the stride on
the 3x3 convolution. As fine-tuned: backbone from ImageNet, and Detectron's FREEZE_AT 2, which is stem and first stage.

Losses, and what RPN and heads learn from, are Detectron's; mmdet_conventions.py has what MMDetection's configs have
instead, and docs/fidelity.md all settings with their source.
"""

_base_ = './rcnn.py'

norm_cfg = dict(type='GN', num_groups=32, requires_grad=True)
# Nothing to keep, so nothing is frozen: random weights, as Caffe2's XavierFill, which Detectron's ResNet begins with.
from_scratch = dict(frozen_stages=-1, init_cfg=[dict(type='Caffe2Xavier', layer='Conv2d')])

model = dict(
    type='MaskRCNN',
    # PIXEL_MEANS of Detectron, which its GN weights know: BGR, not scaled. From scratch the same, so that a pair
    # differs in its initialisation alone.
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[102.9801, 115.9465, 122.7717],
        std=[1.0, 1.0, 1.0],
        bgr_to_rgb=False,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        # Scales of 1 in every GN also at random initialisation, as Detectron's; 0 is MMDetection's default.
        zero_init_residual=False,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://detectron/resnet50_gn'),
    ),
    neck=dict(
        type='FPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        norm_cfg=norm_cfg,
    ),
    rpn_head=dict(
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=1 / 9),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead',
            in_channels=256,
            conv_out_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            norm_cfg=norm_cfg,
            loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        ),
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            norm_cfg=norm_cfg,
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        # An object's best anchor is its own whatever their IoU; anchors that cross the border are not used.
        rpn=dict(assigner=dict(min_pos_iou=0.0), allowed_border=0),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000),
        # An object without a good RoI gets no bad one; RoIs of which more than 0.7 lies in a crowd are not used.
        rcnn=dict(assigner=dict(match_low_quality=False, ignore_iof_thr=0.7), mask_size=28),
    ),
    test_cfg=dict(
        rpn=dict(nms_pre=1000, max_per_img=1000),
        rcnn=dict(mask_thr_binary=0.5),
    ),
)
