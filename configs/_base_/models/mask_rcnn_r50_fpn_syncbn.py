"""Mask R-CNN R50-FPN with synchronised batch normalisation in backbone, FPN, box head and mask head.

Rethinking ImageNet Pre-training, section 3.1 and figure 4: SyncBN instead of GN, everything else equal. Statistics are
computed over the images of all GPUs and are trained in the fine-tuned arm as well, except in the frozen stages.

Pre-trained weights are torchvision's (BN, stride on the 3x3 convolution), with their pixel mean and deviation and
channel order; from scratch the same, so that a pair differs in its initialisation alone.
"""

_base_ = './mask_rcnn_r50_fpn_gn.py'

norm_cfg = dict(_delete_=True, type='SyncBN', requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(norm_cfg=norm_cfg, init_cfg=dict(checkpoint='torchvision://resnet50')),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg), mask_head=dict(norm_cfg=norm_cfg)),
)
