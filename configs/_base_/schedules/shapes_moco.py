"""Shapes, MoCo: 200 iterations of 64 images."""

_base_ = './moco_5ki.py'

max_iters = 200
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
auto_scale_lr = dict(base_batch_size=64)
