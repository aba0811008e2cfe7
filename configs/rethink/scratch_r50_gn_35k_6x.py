"""Mask R-CNN R50-FPN, GN, 35k images, hyper-parameters of 118k, from random weights, 6x.

Rethinking ImageNet Pre-training, section 5.2.
Published: this arm without a number in the text; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 247 epochs of these images.
Data: the 35k images of train2017, docs/data.md.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_35k_6x.py 8
"""

_base_ = './pretrain_r50_gn_35k_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
