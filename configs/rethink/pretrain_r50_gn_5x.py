"""Mask R-CNN R50-FPN, GN, fine-tuned from ImageNet, 5x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 40.9 box AP (table 1), val2017; not trained by us.
Length: 450k iterations of 16 images = 7.20 M images, 61 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_5x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_5x.py',
    '../_base_/default_runtime.py',
]
