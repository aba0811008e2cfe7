"""RetinaNet R50-FPN with BN of each GPU alone, the statistics of each level of the pyramid apart.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs of RetinaNet; focal loss, matching and
box loss are those of the framework that they leave them to (docs/frozen.md). ReLU, as there.
"""

# Momentum 0.99 of what has been before, which is 0.01 of what is new here.
norm_cfg = dict(type='BN', requires_grad=True, momentum=0.01, eps=1e-3)
model = dict(
    type='RetinaNet',
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
        # eps is that of torchvision's weights, 1e-5.
        norm_cfg=dict(type='BN', requires_grad=True, momentum=0.01),
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
        act_cfg=dict(type='ReLU'),
    ),
    bbox_head=dict(
        type='RetinaSepBNHead',
        num_classes=80,
        num_ins=5,
        in_channels=256,
        stacked_convs=4,
        feat_channels=256,
        norm_cfg=norm_cfg,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=1.5, alpha=0.25, loss_weight=1.0),
        # 50 times the Huber loss with delta 0.1, averaged over the four coordinates.
        loss_bbox=dict(type='SmoothL1Loss', beta=0.1, loss_weight=50 * 0.1 / 4),
    ),
    train_cfg=dict(
        assigner=dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.5,
            min_pos_iou=0,
            ignore_iof_thr=-1,
        ),
        # Of focal loss, as in MMDetection.
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=100,
    ),
)
