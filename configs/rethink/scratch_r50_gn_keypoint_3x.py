"""Mask R-CNN R50-FPN for person keypoints, GN, from random weights, 3x. Rethinking ImageNet Pre-training,
figure 6.

Published: without a number (figure 6); not trained by us.
Length: 270k iterations of 16 images = 4.32 M images, 67 epochs of the 64,115 images of train2017 with people;
more, counted by those with a labelled keypoint, which are the ones trained on.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_keypoint_3x.py 8
"""

_base_ = './pretrain_r50_gn_keypoint_3x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
