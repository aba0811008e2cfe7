"""Faster R-CNN R50-C4 with SyncBN, an extra norm behind res5, and nothing frozen: the detector of MoCo and of HPT.

Reed et al., WACV 2022, detection, which takes it from MoCo (He et al. 2020, section 4.2), on Detectron2: anchors of 32
to 512 on stride 16, RoIAlign of 14, res5 with stride 2 on each RoI, average pooling and two linear layers. RPN and
these layers have no norm there either. SyncBN is batch normalisation over the images of all GPUs.

RGB with ImageNet's mean and deviation, as MoCo's configs; a data set may have its own. docs/hpt.md, "Detection".
"""

_base_ = './rcnn.py'

norm_cfg = dict(type='SyncBN', requires_grad=True)

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        # There are no levels to align.
        pad_size_divisor=1,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
    ),
    rpn_head=dict(
        in_channels=1024,
        feat_channels=1024,
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[2, 4, 8, 16, 32],
            ratios=[0.5, 1.0, 2.0],
            strides=[16],
        ),
    ),
    roi_head=dict(
        shared_head=dict(type='Res5ExtraNorm', depth=50, norm_cfg=norm_cfg),
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=1024,
            featmap_strides=[16],
        ),
        bbox_head=dict(
            type='BBoxHead',
            with_avg_pool=True,
            roi_feat_size=7,
            in_channels=2048,
        ),
    ),
    train_cfg=dict(
        # Detectron2's RPN: the best anchor of each object is one, whatever its IoU.
        rpn=dict(assigner=dict(min_pos_iou=0.0)),
        rpn_proposal=dict(nms_pre=12_000, max_per_img=2000),
        rcnn=dict(assigner=dict(match_low_quality=False)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=6000, max_per_img=1000)),
)
