"""Base+Target (HPT): MoCo v2 R50 on the target data, beginning with MoCo v2's ImageNet backbone, 5k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 3; the target is
RESISC-45, or another data set of configs/_base_/datasets/hpt_*.py that HPT_DATASET names. Of a chain of three
(B+S+T) this is each arrow: HPT_BASE=<the backbone.pth of the step before>.
Published: matches or beats 400k iterations from random initialisation on 15 of 16 data sets; not trained by us.
Ours: queue and projector begin with the base's keys and weights (docs/hpt.md); the released configs begin at random.
Weights: HPT_BASE names the base, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 5k iterations of 256 images = 1.28 M images. Others published: 50, 500, 50k (docs/hpt.md).
Run: bash tools/dist_train.sh configs/hpt/pretrain_moco_r50_5ki.py 4
"""

_base_ = [
    '../_base_/models/moco_r50.py',
    '../_base_/datasets/hpt_{{$HPT_DATASET:resisc45}}.py',
    '../_base_/datasets/moco_views.py',
    '../_base_/schedules/moco_5ki.py',
    '../_base_/moco_runtime.py',
]

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'

model = dict(data_preprocessor=dict(mean=_base_.mean, std=_base_.std))
train_dataloader = dict(dataset=dict(_base_.unlabelled_set, pipeline=_base_.pipeline))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]
