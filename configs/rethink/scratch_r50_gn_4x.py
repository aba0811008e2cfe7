"""Mask R-CNN R50-FPN, GN, from random weights, 4x. Rethinking ImageNet Pre-training, table 1 and figure 1.

Published: 40.6 box AP (table 1), val2017; not trained by us.
Length: 360k iterations of 16 images = 5.76 M images, 49 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_4x.py 8
"""

_base_ = './pretrain_r50_gn_4x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
