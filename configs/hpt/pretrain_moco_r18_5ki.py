"""Base+Target (HPT) with a ResNet-18: MoCo v2 on the target data from a base of the same kind, 5k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), released for BDD, RESISC and
CheXpert. All but backbone and projector (512 → 512 → 128) is as in pretrain_moco_r50_5ki.py.
Published: in the release, without a number here; not trained by us.
Weights: HPT_BASE names the base. The paper's, MoCo v2 R18 of ImageNet, 200 epochs, is not public: by default it is
expected as checkpoints/moco_v2_r18_200ep_pretrain.pth.tar.
Length: 5k iterations of 256 images = 1.28 M images.
Run: bash tools/dist_train.sh configs/hpt/pretrain_moco_r18_5ki.py 4
"""

_base_ = './pretrain_moco_r50_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
base = '{{$HPT_BASE:checkpoints/moco_v2_r18_200ep_pretrain.pth.tar}}'

model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=512, hid_channels=512),
)
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks[1:]]
