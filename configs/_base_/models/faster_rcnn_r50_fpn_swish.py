"""Faster R-CNN R50-FPN on P3 to P7 with SyncBN and swish in neck and heads, and a box head of 4 convolutions and 2 fc.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs of the two-stage detectors, and where
they say nothing the framework's experiment that they are for; docs/fidelity.md has both beside each other. As
fine-tuned: backbone from ImageNet, all of it trained, BN's statistics included.
"""

_base_ = './rcnn.py'

strides = [8, 16, 32, 64, 128]
# Momentum 0.997 of what has been before, which is 0.003 of what is new here.
norm_cfg = dict(type='SyncBN', requires_grad=True, momentum=0.003, eps=1e-4)
act_cfg = dict(type='SiLU')
model = dict(
    type='FasterRCNN',
    # Of torchvision's weights, and of ResNet-RS. The last level of the pyramid has a stride of 128.
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=128,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=-1,
        # eps is that of torchvision's weights, 1e-5.
        norm_cfg=dict(type='SyncBN', requires_grad=True, momentum=0.003),
        norm_eval=False,
        style='pytorch',
        zero_init_residual=False,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(
        type='OutputNormFPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        start_level=1,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
    ),
    rpn_head=dict(
        type='SepBNRPNHead',
        in_channels=256,
        feat_channels=256,
        norm_cfg=norm_cfg,
        act_cfg=act_cfg,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=strides),
        loss_bbox=dict(_delete_=True, type='WeightedMeanHuberLoss', delta=1 / 9),
    ),
    roi_head=dict(
        # The framework samples each cell once, in its middle, and does not shift by half a pixel of the map.
        # 112: RoIs of 224 pixels go to P4, as in the FPN's paper, and smaller ones to P3.
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=1, aligned=False),
            out_channels=256,
            featmap_strides=strides,
            finest_scale=112,
        ),
        bbox_head=dict(
            type='WithSwish',
            of='NormedFCBBoxHead',
            num_shared_convs=4,
            num_shared_fcs=2,
            in_channels=256,
            conv_out_channels=256,
            fc_out_channels=1024,
            roi_feat_size=7,
            norm_cfg=norm_cfg,
            loss_bbox=dict(_delete_=True, type='WeightedMeanHuberLoss', delta=1.0),
        ),
    ),
    train_cfg=dict(
        # Each object has its best anchors, whatever their IoU, and an object without a good RoI gets no bad one.
        rpn=dict(assigner=dict(min_pos_iou=0)),
        rpn_proposal=dict(nms_pre=2000, max_per_img=1000),
        rcnn=dict(assigner=dict(match_low_quality=False), sampler=dict(type='MixedRandomSampler')),
    ),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000)),
)
