"""What MMDetection's configs have where study A has Detectron's: L1 losses, its RPN, and one rule for all parameters.

For a config of study A with one box head, beside its own file:

    _base_ = ['./scratch_r50_gn_6x.py', '../_base_/models/mmdet_conventions.py']
    model = _base_.mmdet_model
    optim_wrapper = _base_.mmdet_optim_wrapper

Anchors across the border are used, an object's best anchor is its own from an IoU of 0.3 on, its best RoI also where
another object fits that better, what lies in a crowd is background, and biases and norms decay and learn as all else.
Weights at first, pixels, warm-up and numbers of proposals stay study A's.

The stages of a cascade are lists, into which an override cannot reach. MMDetection's have smooth L1 and drop anchors
across the border as Detectron does; for the rest

    stages = [dict(one, assigner=dict(one.assigner, ignore_iof_thr=-1)) for one in _base_.model.train_cfg.rcnn]
    model = dict(train_cfg=dict(rpn=_base_.mmdet_cascade_rpn, rcnn=stages))

take the place of the line `model = …`. mask_rcnn_r50_fpn_gn_mmdet.py is a base that has the conventions.
docs/fidelity.md
"""

mmdet_model = dict(
    rpn_head=dict(loss_bbox=dict(_delete_=True, type='L1Loss', loss_weight=1.0)),
    roi_head=dict(bbox_head=dict(loss_bbox=dict(_delete_=True, type='L1Loss', loss_weight=1.0))),
    train_cfg=dict(
        rpn=dict(assigner=dict(min_pos_iou=0.3), allowed_border=-1),
        rcnn=dict(assigner=dict(match_low_quality=True, ignore_iof_thr=-1)),
    ),
)
mmdet_cascade_rpn = dict(assigner=dict(min_pos_iou=0.3))
mmdet_optim_wrapper = dict(paramwise_cfg=None)
