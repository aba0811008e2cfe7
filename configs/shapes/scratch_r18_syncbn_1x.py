"""SyncBN in miniature: Mask R-CNN R18-FPN from random weights, 1x, batch normalisation in place of GN.

In one process this is BN over the 8 images, which is equal; several processes need GPUs (docs/tools.md).
Length: 300 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_syncbn_1x.py
"""

_base_ = './scratch_r18_gn_1x.py'

norm_cfg = dict(_delete_=True, type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg), mask_head=dict(norm_cfg=norm_cfg)),
)
