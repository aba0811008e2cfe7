"""Target: MoCo v2 R50 on the target data from random initialisation, 100k iterations: T of the study of robustness.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4; data sets as in
pretrain_moco_r50_5ki.py. Augmentations and shares of the images are overrides (docs/hpt.md).
Published: B+T is more robust to fewer augmentations and images than T; not trained by us.
Length: 100k iterations of 256 images = 25.60 M images.
Run: bash tools/dist_train.sh configs/hpt/scratch_moco_r50_100ki.py 4
"""

_base_ = './scratch_moco_r50_200ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
max_iters = 100_000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
