"""Mask R-CNN X152-8x32d-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1, "large models"; 4.2 times the multiply-adds of R101.
Published: 46.4 box AP, 40.5 mask AP (table 3), val2017; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_x152_gn_aug_9x.py 8
"""

_base_ = './scratch_r50_gn_aug_9x.py'

model = dict(backbone=dict(type='ResNeXt', depth=152, groups=8, base_width=32))
