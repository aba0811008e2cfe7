"""Faster R-CNN R18-FPN with GN for shapes: faster_rcnn_r50_fpn_gn.py, made as small as mask_rcnn_r18 is."""

_base_ = './mask_rcnn_r18_fpn_gn_shapes.py'

model = dict(
    type='FasterRCNN',
    data_preprocessor=dict(pad_mask=False),
    roi_head=dict(mask_roi_extractor=None, mask_head=None),
)
