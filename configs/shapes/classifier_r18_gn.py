"""The stand-in for ImageNet: a ResNet-18 classifier, half as wide, GN, on crops of single shapes (docs/shapes.md).

Trained by MMPretrain; its checkpoint is where the pretrain_* configs of this folder begin.
Length: 600 iterations of 64 crops.
Run: python tools/train.py configs/shapes/classifier_r18_gn.py
"""

_base_ = [
    '../_base_/models/classifier_r18_shapes.py',
    '../_base_/datasets/shapes_classification.py',
    '../_base_/shapes_runtime.py',
]

default_scope = 'mmpretrain'

# The backbone is that of configs/_base_/models/mask_rcnn_r18_fpn_gn_shapes.py, which starts from this one's weights.
model = dict(
    data_preprocessor=dict(num_classes=5, mean=[127.5, 127.5, 127.5], std=[64.0, 64.0, 64.0]),
    backbone=dict(norm_cfg=dict(type='GN', num_groups=16, requires_grad=True)),
    head=dict(type='LinearClsHead', num_classes=5, loss=dict(type='CrossEntropyLoss'), topk=1),
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
default_hooks = dict(visualization=dict(_delete_=True, type='VisualizationHook', enable=False))
visualizer = dict(type='UniversalVisualizer')
