"""Detection of study B: 90k iterations of 8 images, SGD, learning rate 0.01, divided by 10 at 60k and at 80k.

Reed et al., WACV 2022, detection. The rest is Detectron2's, on which it was run: linear warm-up of 1,000 iterations
from a thousandth, weight decay 1e-4 and none for normalisation.

Before each evaluation the statistics of BN are estimated on 1,600 training images (200 batches, Detectron2's default).
"""

max_iters = 90_000
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=30_000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1_000),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[60_000, 80_000],
        gamma=0.1,
    ),
]
custom_hooks = [dict(type='ReestimateBNHook', num_images=200 * 8, interval='val')]

# 4 GPUs x 2 images.
auto_scale_lr = dict(enable=False, base_batch_size=8)
