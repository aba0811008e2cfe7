"""As schedule_600e.py for LVIS v1: 600 epochs of its 100,170 training images by 64."""

_base_ = './schedule_72e.py'

iters_per_epoch = 100_170 // 64
max_iters = 600 * iters_per_epoch
train_cfg = dict(max_iters=max_iters, val_interval=30 * iters_per_epoch)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        _base_.param_scheduler[1],
        end=max_iters,
        milestones=[575 * iters_per_epoch, 590 * iters_per_epoch],
    ),
]
default_hooks = dict(checkpoint=dict(interval=5 * iters_per_epoch))
