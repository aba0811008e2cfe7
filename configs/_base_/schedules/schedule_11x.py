"""11x = 11·90k iterations of 16 images: the last 60k at a tenth of the learning rate, the last 20k at a hundredth."""

_base_ = './schedule_2x.py'

max_iters = 11 * 90_000
train_cfg = dict(max_iters=max_iters)
milestones = [max_iters - left for left in _base_.drops_before_end]
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
