"""Mask R-CNN R50-FPN, GN, from random weights, 5x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 40.7 box AP (table 1), val2017; not trained by us.
Length: 450k iterations of 16 images = 7.20 M images, 61 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_5x.py 8
"""

_base_ = './pretrain_r50_gn_5x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
