"""Mask R-CNN R50-FPN, SyncBN, fine-tuned from ImageNet, 5x. Rethinking ImageNet Pre-training, figure 4.

Published: a curve, without a number in the text; not trained by us. Needs several GPUs (docs/tools.md).
Length: 450k iterations of 16 images = 7.20 M images, 61 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_syncbn_5x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_syncbn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_5x.py',
    '../_base_/default_runtime.py',
]
