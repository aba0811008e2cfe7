"""Linear separability with a ResNet-18: a linear layer on the frozen backbone of HPT_BASE, 5k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), released for BDD, RESISC and
CheXpert; all but the backbone is as in freeze_r50_bn_linear_5ki.py.
Published: B+T is better than B and T; HPT-BN is sometimes better still; not trained by us.
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_r18_200ep_pretrain.pth.tar, which is not public.
Length: 5k iterations of 512 images = 2.56 M images.
Run: bash tools/dist_train.sh configs/hpt/freeze_r18_bn_linear_5ki.py 4
"""

_base_ = './freeze_r50_bn_linear_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_r18_200ep_pretrain.pth.tar}}'

model = dict(
    backbone=dict(depth=18),
    head=dict(in_channels=512),
)
custom_hooks = [dict(_base_.custom_hooks[0], checkpoint=base), *_base_.custom_hooks[1:]]
