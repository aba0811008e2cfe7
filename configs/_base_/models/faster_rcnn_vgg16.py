"""Faster R-CNN with VGG-16, without any normalisation: one feature map of stride 16, and fc6 and fc7 for the RoIs.

Rethinking ImageNet Pre-training, section 5.1, with Detectron's VGG-16 (conv5_3, RoI features of 7x7, fc6 and fc7
without dropout) and what its single-scale (C4) baselines set: anchors of 32 to 512, RPN 12000 proposals before NMS in
training and 6000 in test, 2000 and 1000 after it, RoIAlign with as many samples as a bin has cells. As fine-tuned:
convolutions, fc6 and fc7 from ImageNet, and the first two stages frozen, where Detectron's VGG-16 stops the gradient.

What is not said here is that of the base, GN aside: samplers, losses, test NMS.
"""

_base_ = './faster_rcnn_r50_fpn_gn.py'

# The whole classifier: torchvision has another file of VGG-16 with its convolutions alone.
imagenet = 'torchvision://vgg16'
# fc6 and fc7 from MSRA, as the convolutions (rethink.models.VGG), the predictors as in MMDetection and Detectron.
random_head = [
    dict(type='Kaiming', mode='fan_in', override=dict(name='shared_fcs')),
    dict(type='Normal', std=0.01, override=dict(name='fc_cls')),
    dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
]
model = dict(
    # Of torchvision's weights. From scratch the same; with it MSRA also begins with a signal of size one.
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        _delete_=True,
        type='VGG',
        depth=16,
        frozen_stages=2,
        init_cfg=dict(type='Pretrained', checkpoint=imagenet),
    ),
    neck=None,
    rpn_head=dict(
        in_channels=512,
        feat_channels=512,
        anchor_generator=dict(scales=[2, 4, 8, 16, 32], strides=[16]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            roi_layer=dict(sampling_ratio=0),
            out_channels=512,
            featmap_strides=[16],
        ),
        bbox_head=dict(
            type='Shared2FCBBoxHead',
            in_channels=512,
            fc_out_channels=4096,
            norm_cfg=None,
            init_cfg=[
                *random_head,
                dict(
                    type='RenamedPretrained',
                    checkpoint=imagenet,
                    names={'classifier.0': 'shared_fcs.0', 'classifier.3': 'shared_fcs.1'},
                ),
            ],
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=12000, max_per_img=2000),
    ),
    test_cfg=dict(rpn=dict(nms_pre=6000)),
)
