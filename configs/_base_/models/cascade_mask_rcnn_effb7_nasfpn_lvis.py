"""As cascade_mask_rcnn_effb7_nasfpn.py for LVIS v1: 1203 classes, and up to 300 boxes an image."""

_base_ = './cascade_mask_rcnn_effb7_nasfpn.py'

model = dict(
    roi_head=dict(
        bbox_head=[dict(head, num_classes=1203) for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=1203),
    ),
    test_cfg=dict(rcnn=dict(score_thr=1e-4, max_per_img=300)),
)
