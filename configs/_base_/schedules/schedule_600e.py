"""As schedule_72e.py for 600 epochs: a tenth of the learning rate from epoch 575 and again from epoch 590."""

_base_ = './schedule_72e.py'

max_iters = 600 * 118_287 // 64
# Length and epochs have few divisors in common; 20 evaluations and 140 checkpoints come out even.
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 20)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        _base_.param_scheduler[1],
        end=max_iters,
        milestones=[575 * 118_287 // 64, 590 * 118_287 // 64],
    ),
]
default_hooks = dict(checkpoint=dict(interval=max_iters // 140))
