"""MoCo v2, 50k iterations of 256 images: moco_5ki.py, ten times as long."""

_base_ = './moco_5ki.py'

max_iters = 50_000
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
