"""Cascade Mask R-CNN EfficientNet-B7-NAS-FPN of the Copy-Paste release, which study C fine-tunes and freezes.

Ghiasi et al. 2021 (https://arxiv.org/abs/2012.07177), `cascade_maskrcnn_effb7_nasfpn_1280.yaml` in
https://github.com/tensorflow/tpu: the baseline of Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484).
Stages at IoU 0.6, 0.7 and 0.8, a mask head on the last, anchors of three sizes and three shapes, an RPN of two
convolutions, ReLU in the heads and swish in the NAS-FPN, whose nodes are bottleneck blocks.

Weights: EfficientNet-B7 of Tan and Le 2019 (https://arxiv.org/abs/1905.11946) with AutoAugment, trained on ImageNet
alone, as MMPretrain has converted them (top-1 84.4; not the noisy student, which has seen JFT-300M).
"""

_base_ = './cascade_rcnn_r50_fpn_swish.py'

relu = dict(type='ReLU')
channels = 4 * 256
bbox_heads = [
    dict({key: value for key, value in head.items() if key != 'of'}, type='NormedFCBBoxHead', in_channels=channels)
    for head in _base_.model.roi_head.bbox_head
]
model = dict(
    type='MaskRCNN',
    data_preprocessor=dict(pad_mask=True),
    backbone=dict(
        _delete_=True,
        type='EfficientNet',
        arch='b7',
        drop_path_rate=0.2,
        out_indices=(3, 4, 5),
        norm_cfg=dict(type='SyncBN', requires_grad=True, eps=1e-3, momentum=0.01),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint=(
                'https://download.openmmlab.com/mmclassification/v0/efficientnet/'
                'efficientnet-b7_3rdparty_8xb32-aa_in1k_20220119-bf03951c.pth'
            ),
        ),
    ),
    neck=dict(
        _delete_=True,
        type='BottleneckNASFPN',
        in_channels=[80, 224, 640],
        channels=256,
        stack_times=5,
        norm_cfg=_base_.norm_cfg,
        act_cfg=_base_.act_cfg,
        drop_path_rate=0.2,
    ),
    rpn_head=dict(
        in_channels=channels,
        num_convs=2,
        act_cfg=relu,
        anchor_generator=dict(
            _delete_=True,
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=_base_.strides,
        ),
    ),
    roi_head=dict(
        type='LastStageMaskCascadeRoIHead',
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=bbox_heads,
        mask_roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=1, aligned=False),
            out_channels=channels,
            featmap_strides=_base_.strides,
            finest_scale=112,
        ),
        mask_head=dict(
            type='FCNMaskHead',
            num_convs=4,
            in_channels=channels,
            conv_out_channels=256,
            norm_cfg=_base_.norm_cfg,
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rcnn=[
            # RoIs between 0.5 and 0.6 are neither objects nor background.
            dict(
                _base_.model.train_cfg.rcnn[0],
                assigner=dict(_base_.model.train_cfg.rcnn[0].assigner, pos_iou_thr=0.6, min_pos_iou=0.6),
            ),
            _base_.model.train_cfg.rcnn[1],
            dict(_base_.model.train_cfg.rcnn[2], mask_size=28),
        ],
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.0, mask_thr_binary=0.5)),
)
