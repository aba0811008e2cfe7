"""2x = 180k iterations of 16 images; what the longer schedules change is max_iters alone.

Rethinking ImageNet Pre-training, section 4: 1x is 90k iterations, and whatever the length the learning rate is
divided by 10 for the last 60k and again for the last 20k of them. SGD, learning rate 0.02 for 16 images. Detectron's
optimizer.py and config.py: biases learn twice as fast and do not decay, scale and shift of norms do not decay
(WEIGHT_DECAY_GN), linear warm-up of 500 iterations from a third of the learning rate.
"""

max_iters = 2 * 90_000
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=30_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
    # The shift of a norm is no bias in either of MMEngine and Detectron.
    paramwise_cfg=dict(bias_lr_mult=2.0, bias_decay_mult=0.0, norm_decay_mult=0.0),
)
drops_before_end = (60_000, 20_000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[max_iters - left for left in drops_before_end],
        gamma=0.1,
    ),
]

# 8 GPUs x 2 images. `--auto-scale` fits the whole schedule to another total, `--auto-scale-lr` the learning rate only.
auto_scale_lr = dict(enable=False, base_batch_size=16)
