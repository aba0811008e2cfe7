"""Mask R-CNN R50-FPN for person keypoints, GN, fine-tuned from ImageNet, 3x. Rethinking ImageNet Pre-training,
figure 6.

Published: without a number (figure 6); not trained by us.
Length: 270k iterations of 16 images = 4.32 M images, 67 epochs of the 64,115 images of train2017 with people;
more, counted by those with a labelled keypoint, which are the ones trained on.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_keypoint_3x.py 8
"""

_base_ = [
    '../_base_/models/keypoint_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_keypoint.py',
    '../_base_/schedules/schedule_3x.py',
    '../_base_/default_runtime.py',
]

visualizer = dict(type='KeypointLocalVisualizer')
