"""What MMDetection's configs have where study A has Detectron's: L1 losses, its RPN, and one rule for all parameters.

For a config of study A with one box head, beside its own file:

    _base_ = ['./scratch_r50_gn_6x.py', '../_base_/models/mmdet_conventions.py']
    model = _base_.mmdet_model
    optim_wrapper = _base_.mmdet_optim_wrapper

Anchors across the border are used, an object's best anchor is its own from an IoU of 0.3 on, its best RoI also where
another object fits that better, what lies in a crowd is background, and biases and norms decay and learn as all else.
mask_rcnn_r50_fpn_gn_mmdet.py is a base that has them. The stages of a cascade are lists, into which an override cannot
reach: build it from that base, as cascade_mask_rcnn_r18_fpn_gn_shapes.py. docs/fidelity.md
"""

mmdet_model = dict(
    rpn_head=dict(loss_bbox=dict(_delete_=True, type='L1Loss', loss_weight=1.0)),
    roi_head=dict(bbox_head=dict(loss_bbox=dict(_delete_=True, type='L1Loss', loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(assigner=dict(min_pos_iou=0.3), allowed_border=-1),
        rcnn=dict(assigner=dict(match_low_quality=True, ignore_iof_thr=-1)),
    ),
)
mmdet_optim_wrapper = dict(paramwise_cfg=None)
