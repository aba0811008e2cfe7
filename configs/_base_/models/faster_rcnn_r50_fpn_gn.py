"""Faster R-CNN R50-FPN with GN: the Mask R-CNN of study A without its mask head.

Rethinking ImageNet Pre-training, section 5.2 (PASCAL VOC, which has boxes and no masks).
"""

_base_ = './mask_rcnn_r50_fpn_gn.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
