_base_ = [
    '../_base_/datasets/shapes_classification.py',
    '../_base_/default_runtime.py',
]
default_scope = 'mmpretrain'

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=5,
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        to_rgb=False,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        norm_cfg=dict(type='GN', num_groups=16, requires_grad=True),
        zero_init_residual=False,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=5,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=1,
    ),
)

max_iters = 600
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=200)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, T_max=max_iters)]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=100),
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False),
)
visualizer = dict(type='UniversalVisualizer')
