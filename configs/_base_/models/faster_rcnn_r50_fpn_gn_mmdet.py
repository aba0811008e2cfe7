"""faster_rcnn_r50_fpn_gn.py with MMDetection's conventions, for study C, which has settings of its own."""

_base_ = ['./faster_rcnn_r50_fpn_gn.py', './mmdet_conventions.py']

model = _base_.mmdet_model
