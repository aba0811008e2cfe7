"""Faster R-CNN VGG-16 without normalisation, scale augmentation, from random weights (MSRA), 11x.

Rethinking ImageNet Pre-training, section 5.1.
Published: 35.2 box AP, val2017; not trained by us.
Length: 990k iterations of 16 images = 15.84 M images, 134 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_vgg16_aug_11x.py 8
"""

_base_ = [
    '../_base_/models/faster_rcnn_vgg16.py',
    '../_base_/datasets/coco_detection_aug.py',
    '../_base_/schedules/schedule_11x.py',
    '../_base_/default_runtime.py',
]

# Nothing to keep: random weights are never frozen.
model = dict(
    backbone=dict(frozen_stages=-1, init_cfg=None),
    roi_head=dict(bbox_head=dict(init_cfg=_base_.random_head)),
)
