"""Faster R-CNN VGG-16 without normalisation, scale augmentation, fine-tuned from ImageNet, 9x.

Rethinking ImageNet Pre-training, section 5.1.
Published: 35.6 box AP, val2017; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_vgg16_aug_9x.py 8
"""

_base_ = [
    '../_base_/models/faster_rcnn_vgg16.py',
    '../_base_/datasets/coco_detection_aug.py',
    '../_base_/schedules/schedule_9x.py',
    '../_base_/default_runtime.py',
]
