"""Detection: Mask R-CNN R50-C4, SyncBN, COCO, from a backbone of the hierarchy, 1x.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), detection.
Published: B+T and B+T-BN are better than B and T by a small margin; not trained by us.
Ours: warm-up and decay (Detectron2's defaults; docs/hpt.md). MoCo's own COCO runs have 16 images and 0.02.
Weights: HPT_BASE names the backbone, by default B: checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 90k iterations of 8 images = 0.72 M images, 6 epochs of train2017.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_c4_mask_coco_1x.py 4
Three runs and their median: docs/hpt.md, "Detection".
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_c4_syncbn.py',
    '../_base_/datasets/coco_instance_choice.py',
    '../_base_/schedules/c4_90ki.py',
    '../_base_/default_runtime.py',
]

base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]
