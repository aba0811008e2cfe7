"""Linear evaluation of study B in miniature: a linear layer on a frozen backbone, crops of the target, five classes.

HPT_BASE names the backbone, by default that of Base+Target; BN has the statistics of that file.
Length: 200 iterations of 100 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18.py
     python tools/train.py configs/shapes/freeze_r18_linear.py
"""

_base_ = [
    '../_base_/datasets/shapes_target.py',
    '../_base_/shapes_runtime.py',
]

default_scope = 'mmpretrain'
base = '{{$HPT_BASE:work_dirs/pretrain_moco_r18/backbone.pth}}'
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), dict(type='FrozenFeaturesHook')]

# The backbone is that of moco_r18_shapes.py and sees pixels as it does.
model = dict(
    type='FeatureClassifier',
    data_preprocessor=dict(
        type='FeatureDataPreprocessor',
        num_classes=5,
        mean=[127.5, 127.5, 127.5],
        std=[64.0, 64.0, 64.0],
        to_rgb=False,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        stem_channels=32,
        base_channels=32,
        norm_cfg=dict(type='BN'),
        norm_eval=True,
        frozen_stages=4,
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

# HPT's schedule, drops after a third and two thirds.
max_iters = 200
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=3.0, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[max_iters // 3, 2 * max_iters // 3],
        gamma=0.1,
    )
]
default_hooks = dict(visualization=dict(_delete_=True, type='VisualizationHook', enable=False))
visualizer = dict(type='UniversalVisualizer')
