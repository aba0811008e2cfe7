"""Mask R-CNN R50-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1.
Published: a point of figure 5, without a number in the text; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_aug_9x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance_aug.py',
    '../_base_/schedules/schedule_9x.py',
    '../_base_/default_runtime.py',
]

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
