"""Shapes, MoCo: 100 iterations of 64 images, the length of a step that begins with a base.

`max_iters` and the end of the cosine are the length; Base and a long Target have 500.
"""

_base_ = './moco_5ki.py'

max_iters = 100
train_cfg = dict(max_iters=max_iters)
# Twice HPT's, which is for batches four times as large and 5k of them.
optim_wrapper = dict(optimizer=dict(lr=0.06))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
auto_scale_lr = dict(base_batch_size=64)
