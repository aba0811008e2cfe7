"""Semi-supervised with a ResNet-18: the backbone of HPT_BASE fine-tuned with 1,000 labels, 2,500 iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), released for BDD, RESISC and
CheXpert; all but the backbone is as in finetune_r50_bn_semi_2.5ki.py.
Published: B+T is better than B and T, and HPT-BN never better than B+T; not trained by us.
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_r18_200ep_pretrain.pth.tar, which is not public.
Length: 2,500 iterations of 512 images (two of each 1,000 labels: 512 and 488) = 1.25 M images, 1,250 epochs.
Run: bash tools/dist_train.sh configs/hpt/finetune_r18_bn_semi_2.5ki.py 4
"""

_base_ = './finetune_r50_bn_semi_2.5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_r18_200ep_pretrain.pth.tar}}'

model = dict(
    backbone=dict(depth=18),
    head=dict(in_channels=512),
)
custom_hooks = [dict(_base_.custom_hooks[0], checkpoint=base), *_base_.custom_hooks[1:]]
