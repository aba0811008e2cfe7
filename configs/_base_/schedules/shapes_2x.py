"""Shapes, 2x: 600 iterations of 8 images; the learning rate drops where study C's 72 epochs have their drops.

After two thirds of the training and after 17 eighteenths. Evaluated once, at the end.
"""

_base_ = './shapes_1x.py'

max_iters = 2 * 300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
milestones = [max_iters * 2 // 3, max_iters * 17 // 18]
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
