"""MoCo v2, 5k iterations of 256 images: SGD, learning rate 0.03, cosine to 0 (HPT's released configs).

Another length is a training of its own, as a cosine cannot be cut:
`--cfg-options train_cfg.max_iters=50_000 param_scheduler.0.end=50_000`.
"""

max_iters = 5_000
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, eta_min=0.0)]

# 4 GPUs x 64 images.
auto_scale_lr = dict(enable=False, base_batch_size=256)
