"""As retinanet_r50_nasfpn.py with a ResNet-RS-101."""

_base_ = ['./retinanet_r50_nasfpn.py', './resnet_rs101.py']

model = dict(backbone=_base_.resnet_rs101)
