"""Mask R-CNN R50-FPN for person keypoints, GN, from random weights, 2x. Rethinking ImageNet Pre-training,
figure 6.

Published: 65.6 keypoint AP (figure 6), person_keypoints_val2017; not trained by us.
Length: 180k iterations of 16 images = 2.88 M images, 45 epochs of the 64,115 images of train2017 with people;
more, counted by those with a labelled keypoint, which are the ones trained on.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_keypoint_2x.py 8
"""

_base_ = './pretrain_r50_gn_keypoint_2x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
