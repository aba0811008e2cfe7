"""As faster_rcnn_r50_nasfpn_swish.py with a ResNet-RS-101."""

_base_ = ['./faster_rcnn_r50_nasfpn_swish.py', './resnet_rs101.py']

model = dict(backbone=_base_.resnet_rs101)
