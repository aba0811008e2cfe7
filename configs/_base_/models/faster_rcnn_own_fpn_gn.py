"""Faster R-CNN with FPN and GN behind any backbone: mask_rcnn_own_fpn_gn.py without its mask head, for boxes alone."""

_base_ = './mask_rcnn_own_fpn_gn.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
