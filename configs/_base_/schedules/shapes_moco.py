"""Shapes, MoCo: 100 iterations of 64 images, the length of a step that begins with a base.

`max_iters` and the end of the cosine are the length; Base has 800, a long Target 500. AdamW in the place of HPT's SGD,
which learns less in as few iterations (docs/shapes.md).
"""

_base_ = './moco_5ki.py'

max_iters = 100
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=2e-3, weight_decay=0.05))
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
auto_scale_lr = dict(base_batch_size=64)
