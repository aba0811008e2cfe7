"""Faster R-CNN R50-FPN on P3 to P7 with SyncBN and swish in neck and heads, and a box head of 4 convolutions and 2 fc.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs of the two-stage detectors; what they
leave to their framework and what stays as in MMDetection is in docs/frozen.md. As fine-tuned: backbone from ImageNet,
all of it trained, BN's statistics included.

What is not said here is that of the base, GN aside: samplers, losses, NMS.
"""

_base_ = './faster_rcnn_r50_fpn_gn_mmdet.py'

strides = [8, 16, 32, 64, 128]
norm_cfg = dict(_delete_=True, type='SyncBN', requires_grad=True)
model = dict(
    # Of torchvision's weights, and of timm's ResNet-RS. The last level of the pyramid has a stride of 128.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=128,
    ),
    backbone=dict(
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        init_cfg=dict(checkpoint='torchvision://resnet50'),
    ),
    # Convolutions of stride 2 make P6 and P7 of P5. The outputs of an FPN have no activation.
    neck=dict(start_level=1, add_extra_convs='on_output', norm_cfg=norm_cfg),
    rpn_head=dict(
        type='SwishRPNHead',
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        anchor_generator=dict(strides=strides),
    ),
    roi_head=dict(
        # 112: RoIs of 224 pixels go to P4, as in the FPN's paper, and smaller ones to P3.
        bbox_roi_extractor=dict(featmap_strides=strides, finest_scale=112),
        bbox_head=dict(
            type='WithSwish',
            of='ConvFCBBoxHead',
            num_shared_convs=4,
            num_shared_fcs=2,
            norm_cfg=norm_cfg,
        ),
    ),
    # As in MMDetection's Faster R-CNN: an object without a good RoI gets no bad one.
    train_cfg=dict(rcnn=dict(assigner=dict(match_low_quality=False))),
)
