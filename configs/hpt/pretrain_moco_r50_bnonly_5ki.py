"""Base+Target, BN alone (HPT-BN): of the backbone only BN's scales, biases and statistics are trained, 5k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 3. The projector,
which has no BN and is thrown away, is trained, as in the released configs (docs/hpt.md).
Published: sometimes better than B+T in linear evaluation, never in semi-supervised; not trained by us.
Weights: HPT_BASE names the base, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 5k iterations of 256 images = 1.28 M images.
Run: bash tools/dist_train.sh configs/hpt/pretrain_moco_r50_bnonly_5ki.py 4
"""

_base_ = './pretrain_moco_r50_5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
custom_hooks = [*_base_.custom_hooks, dict(type='TrainBNOnlyHook', also=['neck'])]
