"""Semi-supervised: the ResNet-50 of HPT_BASE and a linear layer fine-tuned with 1,000 labels, 90 epochs.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4.2: the shorter of
two schedules. An epoch of 1,000 labels is two iterations; with all labels tools/hpt_evaluate.py sets the length.
Published: B+T is better than B and T, and HPT-BN never better than B+T; not trained by us.
Weights: HPT_BASE names the backbone, by default checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 180 iterations of 512 images (two of each 1,000 labels: 512 and 488) = 0.09 M images, 90 epochs.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_bn_semi_90e.py 4
"""

_base_ = './finetune_r50_bn_semi_2.5ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/{{$HPT_DATASET:resisc45}}'
epochs = 90
drops = [30, 60]
# Iterations of an epoch: 1,000 labels by 512, rounded up.
epoch = 2
train_cfg = dict(max_iters=epochs * epoch, val_interval=5 * epoch)
param_scheduler = [dict(_base_.param_scheduler[0], end=epochs * epoch, milestones=[drop * epoch for drop in drops])]
default_hooks = dict(checkpoint=dict(interval=30 * epoch))
