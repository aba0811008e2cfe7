"""72 epochs of COCO's 118,287 images by 64: SGD, learning rate 0.16, a tenth from epoch 48 and again from epoch 68.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484), released configs of the two-stage detectors. Warm-up
(500 iterations from 0.0067), momentum and weight decay (4e-5, of the weights of convolutions and fully connected
layers alone) are those of the framework's experiment that they are written for. Frozen parameters are not in the
optimiser. With the runtime, whose checkpoints must fit the length.
"""

_base_ = '../default_runtime.py'

iters_per_epoch = 118_287 // 64
max_iters = 72 * iters_per_epoch
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=6 * iters_per_epoch)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='TrainableOptimWrapperConstructor',
    optimizer=dict(type='SGD', lr=0.16, momentum=0.9, weight_decay=4e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.0067 / 0.16, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        by_epoch=False,
        begin=0,
        end=max_iters,
        milestones=[48 * iters_per_epoch, 68 * iters_per_epoch],
        gamma=0.1,
    ),
]
default_hooks = dict(checkpoint=dict(interval=2 * iters_per_epoch))

# 8 GPUs x 8 images. `--auto-scale` fits the whole schedule to another total.
auto_scale_lr = dict(enable=False, base_batch_size=64)
