"""Mask R-CNN EfficientNet-B7 with the NAS-FPN and the heads of faster_rcnn_r50_nasfpn_swish.py.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484). Weights: EfficientNet-B7 of Tan and Le 2019
(https://arxiv.org/abs/1905.11946) with AutoAugment, trained on ImageNet alone, as MMPretrain has converted them (top-1
84.4; not the noisy student, which has seen JFT-300M).
"""

_base_ = './faster_rcnn_r50_nasfpn_swish.py'

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
    neck=dict(in_channels=[80, 224, 640], start_level=0),
    roi_head=dict(
        mask_roi_extractor=dict(
            _delete_=True,
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=2),
            out_channels=256,
            featmap_strides=_base_.strides,
            finest_scale=112,
        ),
        mask_head=dict(
            _delete_=True,
            type='WithSwish',
            of='FCNMaskHead',
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            num_classes=80,
            loss_mask=dict(type='CrossEntropyLoss', use_mask=True, loss_weight=1.0),
        ),
    ),
)
