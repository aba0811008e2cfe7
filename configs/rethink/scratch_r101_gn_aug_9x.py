"""Mask R-CNN R101-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1.
Published: 45.0 box AP, 39.5 mask AP (table 3), val2017; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r101_gn_aug_9x.py 8
"""

_base_ = './scratch_r50_gn_aug_9x.py'

model = dict(backbone=dict(depth=101))
