"""Mask R-CNN R101-FPN, GN, fine-tuned from ImageNet, 3x. Rethinking ImageNet Pre-training, table 1 and figure 3.

Published: 42.3 box AP (table 1), val2017; not trained by us. Table 2 has 37.2 mask AP for the best schedule of this
arm, which by table 1 is 3x or 4x.
Length: 270k iterations of 16 images = 4.32 M images, 37 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r101_gn_3x.py 8
"""

_base_ = './pretrain_r50_gn_3x.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
