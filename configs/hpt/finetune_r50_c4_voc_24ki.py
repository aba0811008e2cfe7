"""Detection: Faster R-CNN R50-C4, SyncBN, PASCAL VOC, from a backbone of the hierarchy, 24k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), detection.
Published: B+T and B+T-BN are better than B and T by a small margin; not trained by us.
Ours: decay and the factor of warm-up (Detectron2's defaults), difficult objects no targets (docs/hpt.md).
Weights: HPT_BASE names the backbone, by default B: checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 24k iterations of 8 images = 0.19 M images, 12 epochs of the 16,551 images of trainval2007 + trainval2012.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_c4_voc_24ki.py 4
Three runs and their median: docs/hpt.md, "Detection".
"""

_base_ = [
    '../_base_/models/faster_rcnn_r50_c4_syncbn.py',
    '../_base_/datasets/voc0712_detection.py',
    '../_base_/schedules/c4_90ki.py',
    '../_base_/default_runtime.py',
]

base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]

model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
max_iters = 24_000
train_cfg = dict(max_iters=max_iters, val_interval=6_000)
param_scheduler = [
    dict(_base_.param_scheduler[0], end=100),
    dict(_base_.param_scheduler[1], end=max_iters, milestones=[18_000, 22_000]),
]
default_hooks = dict(checkpoint=dict(interval=6_000))
