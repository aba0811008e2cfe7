"""Mask R-CNN R50-FPN, GN, fine-tuned from ImageNet, 4x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 40.9 box AP (table 1), val2017; not trained by us.
Length: 360k iterations of 16 images = 5.76 M images, 49 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_4x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_4x.py',
    '../_base_/default_runtime.py',
]
