"""ResNet-50 with BN and a linear layer on pooled res5, by MMPretrain; a data set adds mean, std and kind of head."""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', to_rgb=True),
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(in_channels=2048),
)
