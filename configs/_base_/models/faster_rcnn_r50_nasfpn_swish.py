"""As faster_rcnn_r50_fpn_swish.py with a NAS-FPN, whose activation is swish as well."""

_base_ = ['./faster_rcnn_r50_fpn_swish.py', './nasfpn.py']

model = dict(neck=dict(_base_.nasfpn, type='WithSwish', of='NASFPN', norm_cfg=_base_.norm_cfg))
