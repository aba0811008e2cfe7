"""72 epochs of COCO's 118,287 images by 256, for RetinaNet: learning rate 0.32, drops as in schedule_72e.py.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs of RetinaNet; weight decay 1e-4 is the
framework's.
"""

_base_ = './schedule_72e.py'

iters_per_epoch = 118_287 // 256
max_iters = 72 * iters_per_epoch
train_cfg = dict(max_iters=max_iters, val_interval=6 * iters_per_epoch)
optim_wrapper = dict(
    optimizer=dict(lr=0.32, weight_decay=1e-4),
    # The levels of the pyramid share the convolutions of the head.
    paramwise_cfg=dict(bypass_duplicate=True),
)
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=0.0067 / 0.32),
    dict(
        _base_.param_scheduler[1],
        end=max_iters,
        milestones=[48 * iters_per_epoch, 68 * iters_per_epoch],
    ),
]
default_hooks = dict(checkpoint=dict(interval=2 * iters_per_epoch))

# 8 GPUs x 32 images.
auto_scale_lr = dict(base_batch_size=256)
