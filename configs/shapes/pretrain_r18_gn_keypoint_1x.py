"""Figure 6 in miniature: Mask R-CNN R18-FPN for stick figures, GN, fine-tuned from the classifier of crops.

Length: 600 iterations of 8 images.
Run: python tools/dataset_converters/make_shapes.py data/shapes --figures
     python tools/train.py configs/shapes/classifier_r18_gn.py
     python tools/train.py configs/shapes/pretrain_r18_gn_keypoint_1x.py
"""

_base_ = [
    '../_base_/models/keypoint_rcnn_r18_fpn_gn_shapes.py',
    '../_base_/datasets/shapes_keypoint.py',
    '../_base_/schedules/shapes_1x.py',
    '../_base_/shapes_runtime.py',
]

# Twice the 1x of boxes and masks: a keypoint head learns later.
max_iters = 2 * 300
train_cfg = dict(max_iters=max_iters, val_interval=200)
milestones = [max_iters - left for left in _base_.drops_before_end]
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
visualizer = dict(type='KeypointLocalVisualizer', radius=1)
