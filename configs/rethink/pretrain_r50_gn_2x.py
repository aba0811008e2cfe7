"""Mask R-CNN R50-FPN, GN, fine-tuned from ImageNet, 2x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 40.3 box AP (table 1), val2017; not trained by us.
Length: 180k iterations of 16 images = 2.88 M images, 24 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_2x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]
