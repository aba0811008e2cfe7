"""Mask R-CNN R101-FPN, GN, fine-tuned from ImageNet, 2x. Rethinking ImageNet Pre-training, table 1 and figure 3.

Published: 41.8 box AP (table 1), val2017; not trained by us.
Length: 180k iterations of 16 images = 2.88 M images, 24 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r101_gn_2x.py 8
"""

_base_ = './pretrain_r50_gn_2x.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
