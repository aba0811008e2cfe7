"""Mask R-CNN R101-FPN, GN, from random weights, 2x. Rethinking ImageNet Pre-training, table 1 and figure 3.

Published: 38.2 box AP (table 1), val2017; not trained by us.
Length: 180k iterations of 16 images = 2.88 M images, 24 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r101_gn_2x.py 8
"""

_base_ = './pretrain_r101_gn_2x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
