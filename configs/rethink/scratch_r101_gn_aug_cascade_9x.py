"""Cascade Mask R-CNN R101-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1. Mask R-CNN up to iteration 540k, then three stages and a mask head on
the last for the final 270k; the command runs both, and with --resume goes on in either (docs/cascade.md).
Published: 47.4 box AP, 40.5 mask AP (figure 5, as tensorpack's README quotes it); with --tta, 42.5 mask AP;
not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r101_gn_aug_cascade_9x.py 8
"""

_base_ = './scratch_r50_gn_aug_cascade_9x.py'

model = dict(backbone=dict(depth=101))
switch_from = dict(config='{{ fileDirname }}/scratch_r101_gn_aug_9x.py')
