"""mask_rcnn_r50_fpn_gn.py with MMDetection's conventions, for the detectors that were measured with them.

The miniatures (configs/shapes) and studies of one's own (tools/study.py new).
"""

_base_ = ['./mask_rcnn_r50_fpn_gn.py', './mmdet_conventions.py']

model = _base_.mmdet_model
