"""Target: MoCo v2 R50 on the target data from random initialisation, 200k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4; data sets as in
pretrain_moco_r50_5ki.py.
Published: on 15 of 16 data sets 400k iterations are no better than 5k of B+T; not trained by us.
Length: 200k iterations of 256 images = 51.20 M images. Others published: 5k, 50k, 100k, and 400k where 200k still
improved on 100k (docs/hpt.md).
Run: bash tools/dist_train.sh configs/hpt/scratch_moco_r50_200ki.py 4
"""

_base_ = './pretrain_moco_r50_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
max_iters = 200_000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
default_hooks = dict(checkpoint=dict(interval=10_000))
custom_hooks = [dict(type='ExportBackboneHook')]
