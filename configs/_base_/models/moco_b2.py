"""MoCo v2 with an EfficientNet-B2, for domain adaptation; the projector's hidden layer is as wide as the features."""

_base_ = './moco_r50.py'

model = dict(
    backbone=dict(_delete_=True, type='EfficientNet', arch='b2'),
    neck=dict(in_channels=1408, hid_channels=1408),
)
