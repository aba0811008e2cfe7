"""MoCo v2 with a ResNet-50 with BN, as MMPretrain has it.

MoCo v2 (Chen et al. 2020) with the settings of HPT's released configs: queue of 65,536 keys of 128 dimensions,
temperature 0.2, projector of two layers behind average pooling. The data set's mean and std belong into
data_preprocessor.
"""

model = dict(
    type='MoCo',
    queue_len=65_536,
    feat_dim=128,
    # MMEngine's: the part that is new. MoCo's paper calls 1 - momentum = 0.999 the momentum.
    momentum=0.001,
    data_preprocessor=dict(type='SelfSupDataPreprocessor', to_rgb=True),
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False,
    ),
    neck=dict(
        type='MoCoV2Neck',
        in_channels=2048,
        hid_channels=2048,
        out_channels=128,
        with_avg_pool=True,
    ),
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss'),
        temperature=0.2,
    ),
)
