"""Detection: Mask R-CNN R50-C4, SyncBN, COCO, from a backbone of the hierarchy, 2x.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), detection.
Published: B+T and B+T-BN are better than B and T by a small margin; not trained by us.
Weights: HPT_BASE names the backbone, by default B: checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 180k iterations of 8 images = 1.44 M images, 12 epochs of train2017.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_c4_mask_coco_2x.py 4
Three runs and their median: docs/hpt.md, "Detection".
"""

_base_ = './finetune_r50_c4_mask_coco_1x.py'

max_iters = 2 * 90_000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=[120_000, 160_000]),
]
