"""MoCo v2 for shapes: ResNet-18 half as wide (as the classifier of crops, but BN), queue of 256 keys.

One process does what four do: BN by quarters of the batch, keys shuffled between them (SplitBN).
"""

_base_ = './moco_r50.py'

model = dict(
    queue_len=256,
    # 50 times fewer iterations than HPT's 5k: the key encoder follows ten times as fast.
    momentum=0.01,
    data_preprocessor=dict(mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0], to_rgb=False),
    backbone=dict(
        depth=18,
        stem_channels=32,
        base_channels=32,
        norm_cfg=dict(type='SplitBN', groups=4),
    ),
    neck=dict(in_channels=256, hid_channels=256),
)
