"""Mask R-CNN R50-FPN, GN, from random weights, 6x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 41.3 box AP (table 1), 36.6 mask AP (table 2), val2017; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_6x.py 8
"""

_base_ = './pretrain_r50_gn_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
