"""As mask_rcnn_effb7_nasfpn_swish.py for LVIS v1: 1203 classes, and up to 300 boxes an image of any score."""

_base_ = './mask_rcnn_effb7_nasfpn_swish.py'

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=1203), mask_head=dict(num_classes=1203)),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
