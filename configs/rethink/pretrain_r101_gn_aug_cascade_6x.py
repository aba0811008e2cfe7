"""Cascade Mask R-CNN R101-FPN, GN, scale augmentation, fine-tuned from ImageNet, 6x.

Rethinking ImageNet Pre-training, section 5.1. Three stages from the first iteration on; a mask head on the last.
Published: a point of figure 5, without a number in the text; with --tta, 41.9 mask AP; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r101_gn_aug_cascade_6x.py 8
"""

_base_ = './pretrain_r50_gn_aug_cascade_6x.py'

model = dict(backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')))
