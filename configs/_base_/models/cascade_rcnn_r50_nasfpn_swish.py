"""As cascade_rcnn_r50_fpn_swish.py with a NAS-FPN."""

_base_ = ['./cascade_rcnn_r50_fpn_swish.py', './nasfpn.py']

model = dict(neck=_base_.nasfpn)
