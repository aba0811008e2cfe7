"""Target with a ResNet-18: MoCo v2 on the target data from random initialisation, 200k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), released for BDD, RESISC and
CheXpert; data sets as in pretrain_moco_r50_5ki.py.
Published: in the release, without a number here; not trained by us.
Length: 200k iterations of 256 images = 51.20 M images. Others published: 5k, 50k, 100k (docs/hpt.md).
Run: bash tools/dist_train.sh configs/hpt/scratch_moco_r18_200ki.py 4
"""

_base_ = './scratch_moco_r50_200ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
model = dict(
    backbone=dict(depth=18),
    neck=dict(in_channels=512, hid_channels=512),
)
