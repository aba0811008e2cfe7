"""Mask R-CNN R50-FPN, SyncBN, from random weights, 4x. Rethinking ImageNet Pre-training, figure 4.

Published: a curve, without a number in the text; not trained by us. Needs several GPUs (docs/tools.md).
Length: 360k iterations of 16 images = 5.76 M images, 49 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_syncbn_4x.py 8
"""

_base_ = './pretrain_r50_syncbn_4x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
