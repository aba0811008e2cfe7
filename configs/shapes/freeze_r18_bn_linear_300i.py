"""Study B in miniature, linear separability: a linear layer on the frozen R18 of HPT_BASE, 300 iterations.

Crops of single shapes (top-1), or with HPT_DATASET=scenes which shapes are in a scene (AUROC).
Weights: HPT_BASE, by default the backbone of base_moco_r18.py.
Length: 300 iterations of 64 images.
Run: python tools/dataset_converters/make_splits.py configs/_base_/datasets/shapes_hpt_crops.py
     python tools/train.py configs/shapes/freeze_r18_bn_linear_300i.py
"""

_base_ = [
    '../_base_/models/classifier_r18_shapes.py',
    '../_base_/datasets/shapes_hpt_{{$HPT_DATASET:crops}}.py',
    '../_base_/datasets/classification_64.py',
    '../_base_/schedules/linear_5ki.py',
    '../_base_/classification_runtime.py',
]

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:crops}}'
base = '{{$HPT_BASE:work_dirs/base_moco_r18/backbone.pth}}'
protocol = 'linear'
learning_rates = [0.3, 3.0, 30.0]

model = dict(
    type='FeatureClassifier',
    data_preprocessor=dict(type='FeatureDataPreprocessor', mean=_base_.mean, std=_base_.std),
    backbone=dict(frozen_stages=4, norm_eval=True),
    head=dict(_base_.head, num_classes=_base_.num_classes),
)
train_dataloader = dict(dataset=dict(_base_.train_set, pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(_base_.val_set, pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(_base_.test_set, pipeline=_base_.test_pipeline))
val_evaluator = test_evaluator = _base_.evaluator
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), dict(type='FrozenFeaturesHook')]

max_iters = 300
train_cfg = dict(max_iters=max_iters, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=3.0))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, milestones=[100, 200])]
default_hooks = dict(checkpoint=dict(interval=100), logger=dict(interval=20))
log_processor = dict(window_size=20)
auto_scale_lr = dict(base_batch_size=64)
