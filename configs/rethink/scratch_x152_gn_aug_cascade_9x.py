"""Cascade Mask R-CNN X152-8x32d-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1. Mask R-CNN up to iteration 540k, then three stages and a mask head on
the last for the final 270k; the command runs both, and with --resume goes on in either (docs/cascade.md).
Published: 48.6 box AP, 41.4 mask AP; with --tta, 50.9 box AP, 43.2 mask AP (table 3), val2017; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_x152_gn_aug_cascade_9x.py 8
"""

_base_ = './scratch_r50_gn_aug_cascade_9x.py'

model = dict(backbone=dict(type='ResNeXt', depth=152, groups=8, base_width=32))
switch_from = dict(config='{{ fileDirname }}/scratch_x152_gn_aug_9x.py')
