"""Mask R-CNN R101-FPN, GN, from random weights, 6x. Rethinking ImageNet Pre-training, table 1 and figure 3.

Published: 42.7 box AP (table 1), 37.6 mask AP (table 2), val2017; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r101_gn_6x.py 8
"""

_base_ = './pretrain_r101_gn_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
