"""As schedule_retinanet_72e.py for 600 epochs: the learning rate falls at epochs 575 and 590."""

_base_ = './schedule_retinanet_72e.py'

max_iters = 600 * 118_287 // 256
# Length and epochs have few divisors in common; 35 evaluations and checkpoints come out even.
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 35)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        _base_.param_scheduler[1],
        end=max_iters,
        milestones=[round(575 * 118_287 / 256), round(590 * 118_287 / 256)],
    ),
]
default_hooks = dict(checkpoint=dict(interval=max_iters // 35))
