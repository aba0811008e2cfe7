"""HPT for domain adaptation: MoCo v2 EfficientNet-B2 on DomainNet real and a target together, from ImageNet's labels.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4. Images of source
and target without their labels, never of the test sets; the target is clipart, or HPT_TARGET=sketch.
Published: where MME begins, without a number here; not trained by us.
Ours: 5k iterations, as elsewhere in the paper; ImageNet's mean and std, as there are two domains and the base has
learnt with these.
Weights: HPT_BASE names the base, by default MMPretrain's efficientnet-b2_3rdparty_8xb32_in1k_20220119-ea374a30.pth
below checkpoints/.
Length: 5k iterations of 256 images = 1.28 M images.
Run: bash tools/dist_train.sh configs/hpt/pretrain_moco_b2_domainnet_5ki.py 4
"""

_base_ = [
    '../_base_/models/moco_b2.py',
    '../_base_/datasets/hpt_domainnet_{{$HPT_TARGET:clipart}}.py',
    '../_base_/datasets/moco_views.py',
    '../_base_/schedules/moco_5ki.py',
    '../_base_/moco_runtime.py',
]

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/real_{{$HPT_TARGET:clipart}}'
base = '{{$HPT_BASE:checkpoints/efficientnet-b2_3rdparty_8xb32_in1k_20220119-ea374a30.pth}}'

model = dict(data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]))
target = dict(_base_.unlabelled_set, pipeline=_base_.pipeline)
source = dict(target, data_root='data/domainnet/real/')
train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[source, target]))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]
