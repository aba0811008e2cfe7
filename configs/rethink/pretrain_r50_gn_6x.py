"""Mask R-CNN R50-FPN, GN, fine-tuned from ImageNet, 6x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 41.1 box AP (table 1), 36.4 mask AP (table 2), val2017; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_6x.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_6x.py',
    '../_base_/default_runtime.py',
]
