"""Mask R-CNN R50-FPN, SyncBN, fine-tuned from ImageNet, 4x. Rethinking ImageNet Pre-training, figure 4.

Published: a curve, without a number in the text; not trained by us. Needs several GPUs (docs/tools.md).
Length: 360k iterations of 16 images = 5.76 M images, 49 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_syncbn_4x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_syncbn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_4x.py',
    '../_base_/default_runtime.py',
]
