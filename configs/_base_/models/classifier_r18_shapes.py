"""The classifier of study B's evaluations in miniature: the ResNet-18 of moco_r18_shapes.py, its BN as BN."""

_base_ = './classifier_r50.py'

model = dict(
    data_preprocessor=dict(to_rgb=False),
    backbone=dict(depth=18, stem_channels=32, base_channels=32),
    head=dict(in_channels=256),
)
