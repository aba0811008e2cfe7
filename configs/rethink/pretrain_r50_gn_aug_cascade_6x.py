"""Cascade Mask R-CNN R50-FPN, GN, scale augmentation, fine-tuned from ImageNet, 6x.

Rethinking ImageNet Pre-training, section 5.1. Three stages from the first iteration on; a mask head on the last.
Published: a point of figure 5, without a number in the text; with --tta, 40.9 mask AP; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_aug_cascade_6x.py 8
"""

_base_ = [
    '../_base_/models/cascade_mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance_aug.py',
    '../_base_/schedules/schedule_6x.py',
    '../_base_/default_runtime.py',
]
