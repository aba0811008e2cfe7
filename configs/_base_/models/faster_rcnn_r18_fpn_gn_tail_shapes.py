"""Faster R-CNN R18-FPN with GN for the long tail of shapes: the whole backbone is fine-tuned, from crops.

FPN and heads of 32 channels; 16 % of the parameters are outside the backbone.
"""

_base_ = './faster_rcnn_r18_fpn_gn_shapes.py'

model = dict(
    backbone=dict(
        frozen_stages=-1,
        init_cfg=dict(checkpoint='work_dirs/classifier_r18_gn_tail/iter_900.pth'),
    ),
    roi_head=dict(bbox_head=dict(num_classes=10)),
    # Twice as many as in study A, for the classes of which there are few.
    train_cfg=dict(rcnn=dict(sampler=dict(num=32))),
)
