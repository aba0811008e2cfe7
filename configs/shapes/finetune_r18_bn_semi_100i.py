"""Study B in miniature, semi-supervised: the R18 of HPT_BASE fine-tuned with 1,000 labels, 100 iterations.

Data sets as in freeze_r18_bn_linear_300i.py; other numbers of labels: docs/hpt.md.
Weights: HPT_BASE, by default the backbone of base_moco_r18.py.
Length: 100 iterations of 64 images.
Run: python tools/dataset_converters/make_splits.py configs/_base_/datasets/shapes_hpt_crops.py
     python tools/train.py configs/shapes/finetune_r18_bn_semi_100i.py
"""

_base_ = './freeze_r18_bn_linear_300i.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:crops}}'
protocol = 'semi'
learning_rates = [0.01, 0.001]

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor'),
    backbone=dict(frozen_stages=-1, norm_eval=False),
)
train_dataloader = dict(dataset=dict(_delete_=True, **_base_.train_1000_set, pipeline=_base_.train_pipeline))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=_base_.base)]

max_iters = 100
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=100))),
)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, milestones=[33, 67])]
