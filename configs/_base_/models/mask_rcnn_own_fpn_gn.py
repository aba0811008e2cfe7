"""Mask R-CNN with FPN and GN behind any backbone, sized for small images and a laptop: 64 RoIs an image.

mask_rcnn_r50_fpn_gn_mmdet.py without its backbone. What inherits from it adds the backbone, pixels as its weights know
them, the channels after it and the number of classes; `tools/study.py new` writes such a file (docs/your_data.md).
"""

_base_ = './mask_rcnn_r50_fpn_gn_mmdet.py'

norm_cfg = dict(type='GN', num_groups=16, requires_grad=True)
model = dict(
    data_preprocessor=dict(_delete_=True, type='DetDataPreprocessor', pad_mask=True, pad_size_divisor=32),
    backbone=dict(_delete_=True),
    neck=dict(norm_cfg=norm_cfg),
    roi_head=dict(bbox_head=dict(norm_cfg=norm_cfg), mask_head=dict(norm_cfg=norm_cfg)),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100)),
)
