"""Shapes: 1x is 300 iterations of 8 images; as on COCO, a longer schedule only adds iterations before the drops.

Learning rate 0.04: twice that of COCO, because the model is small and an image gives few RoIs (docs/shapes.md).
"""

_base_ = './schedule_2x.py'

max_iters = 1 * 300
train_cfg = dict(max_iters=max_iters, val_interval=100)
# All parameters alike, with which the miniatures were measured (../models/mmdet_conventions.py).
optim_wrapper = dict(optimizer=dict(lr=0.04), paramwise_cfg=None)
drops_before_end = (100, 30)
milestones = [max_iters - left for left in drops_before_end]
param_scheduler = [
    dict(_base_.param_scheduler[0], end=50),
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
auto_scale_lr = dict(base_batch_size=8)
