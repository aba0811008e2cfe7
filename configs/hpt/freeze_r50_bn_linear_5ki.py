"""Linear separability: a linear layer on the frozen ResNet-50 of HPT_BASE, BN in evaluation mode, 5k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4.1; RESISC-45, or
another data set of configs/_base_/datasets/hpt_*.py that HPT_DATASET names. Validation chooses among three learning
rates, the test is reported, three runs: tools/hpt_evaluate.py does it (docs/hpt.md).
Published: B+T is better than B and T; HPT-BN is sometimes better still; not trained by us.
Ours: which iteration counts, and features of validation and test images computed once (docs/hpt.md).
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 5k iterations of 512 images = 2.56 M images.
Run: bash tools/dist_train.sh configs/hpt/freeze_r50_bn_linear_5ki.py 4
"""

_base_ = [
    '../_base_/models/classifier_r50.py',
    '../_base_/datasets/hpt_{{$HPT_DATASET:resisc45}}.py',
    '../_base_/datasets/classification_224.py',
    '../_base_/schedules/linear_5ki.py',
    '../_base_/classification_runtime.py',
]

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'
# What tools/hpt_evaluate.py tries.
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
