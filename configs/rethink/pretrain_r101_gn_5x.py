"""Mask R-CNN R101-FPN, GN, fine-tuned from ImageNet, 5x. Rethinking ImageNet Pre-training, table 1 and figure 3.

Published: 41.9 box AP (table 1), val2017; not trained by us.
Length: 450k iterations of 16 images = 7.20 M images, 61 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r101_gn_5x.py 8
"""

_base_ = './pretrain_r50_gn_5x.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
