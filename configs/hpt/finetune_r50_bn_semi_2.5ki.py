"""Semi-supervised: the ResNet-50 of HPT_BASE and a linear layer fine-tuned with 1,000 labels, 2,500 iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4.2; data sets as in
freeze_r50_bn_linear_5ki.py. Nothing is frozen, BN uses the batch, the head has 100 times the learning rate. Validation
chooses among two learning rates and two schedules, this one and finetune_r50_bn_semi_90e.py; tools/hpt_evaluate.py
does it, with all labels as well (docs/hpt.md).
Published: B+T is better than B and T, and HPT-BN never better than B+T; not trained by us.
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 2,500 iterations of 512 images (two of each 1,000 labels: 512 and 488) = 1.25 M images, 1,250 epochs.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_bn_semi_2.5ki.py 4
"""

_base_ = './freeze_r50_bn_linear_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
protocol = 'semi'
learning_rates = [0.01, 0.001]

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor'),
    backbone=dict(frozen_stages=-1, norm_eval=False),
)
train_dataloader = dict(dataset=dict(_delete_=True, **_base_.train_1000_set, pipeline=_base_.train_pipeline))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=_base_.base)]

max_iters = 2_500
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(
    optimizer=dict(lr=0.01),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=100))),
)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, milestones=[833, 1667])]
