"""As retinanet_r50_fpn.py with a NAS-FPN."""

_base_ = ['./retinanet_r50_fpn.py', './nasfpn.py']

model = dict(neck=dict(_base_.nasfpn, norm_cfg=_base_.norm_cfg))
