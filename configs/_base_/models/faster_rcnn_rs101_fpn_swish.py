"""As faster_rcnn_r50_fpn_swish.py with a ResNet-RS-101, with swish as well."""

_base_ = ['./faster_rcnn_r50_fpn_swish.py', './resnet_rs101_swish.py']

model = dict(backbone=_base_.resnet_rs101_swish)
