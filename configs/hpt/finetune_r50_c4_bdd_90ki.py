"""Detection: Faster R-CNN R50-C4, SyncBN, BDD100K, from a backbone of the hierarchy, 90k iterations.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), detection. The backbone is
what is compared: HPT_BASE=work_dirs/pretrain_moco_r50_5ki/bdd_weather/backbone.pth is B+T.
Published: B+T and B+T-BN are better than B and T by a small margin; not trained by us.
Ours: which images are held out, warm-up and decay (Detectron2's defaults; docs/hpt.md).
Weights: HPT_BASE names the backbone, by default B: checkpoints/moco_v2_800ep_pretrain.pth.tar of MoCo's authors.
Length: 90k iterations of 8 images = 0.72 M images, 12 epochs of 60,000.
Run: bash tools/dist_train.sh configs/hpt/finetune_r50_c4_bdd_90ki.py 4
Three runs and their median: docs/hpt.md, "Detection".
"""

_base_ = [
    '../_base_/models/faster_rcnn_r50_c4_syncbn.py',
    '../_base_/datasets/bdd_detection.py',
    '../_base_/schedules/c4_90ki.py',
    '../_base_/default_runtime.py',
]

base = '{{$HPT_BASE:checkpoints/moco_v2_800ep_pretrain.pth.tar}}'
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]

# BDD's own, with which the backbone was pre-trained on it; so in the released config.
model = dict(
    data_preprocessor=dict(
        mean=[255 * value for value in (0.2789, 0.2929, 0.2902)],
        std=[255 * value for value in (0.2474, 0.2653, 0.2761)],
    ),
    roi_head=dict(bbox_head=dict(num_classes=10)),
)
