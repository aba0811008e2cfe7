"""Linear evaluation of HPT, 5k iterations of 512 images: SGD without weight decay, lr / 10 at 1651 and 3333.

The learning rate is the largest of the three that are tried.
"""

max_iters = 5_000
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=100)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=30.0, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=max_iters, milestones=[1651, 3333], gamma=0.1)
]

# 4 GPUs x 128 images.
auto_scale_lr = dict(enable=False, base_batch_size=512)
