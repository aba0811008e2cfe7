"""Shapes, 6x: 1800 iterations of 8 images."""

_base_ = './shapes_1x.py'

max_iters = 6 * 300
train_cfg = dict(max_iters=max_iters, val_interval=300)
milestones = [max_iters - left for left in _base_.drops_before_end]
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
