"""180,000 iterations of 256 images: SGD, learning rate 0.32, a tenth after 90, 95 and 97.5 % of them.

Copy-Paste (Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177), released config of EfficientNet-B7: 390 epochs of
COCO's 118,287 images. Warm-up: 1000 iterations from a hundredth. Momentum, weight decay and what it spares are those
of schedule_72e.py. With the runtime, whose checkpoints must fit the length.
"""

_base_ = './schedule_72e.py'

max_iters = 180_000
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 20)
optim_wrapper = dict(optimizer=dict(lr=0.32))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1 / 100, end=1000),
    dict(
        _base_.param_scheduler[1],
        end=max_iters,
        milestones=[max_iters * 900 // 1000, max_iters * 950 // 1000, max_iters * 975 // 1000],
    ),
]
default_hooks = dict(checkpoint=dict(interval=max_iters // 60))

# 8 GPUs x 32 images, as on the release's TPUs. `--auto-scale` fits the whole schedule to another total.
auto_scale_lr = dict(base_batch_size=256)
