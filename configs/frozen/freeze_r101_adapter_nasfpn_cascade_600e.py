"""Cascade R-CNN R101-NAS-FPN, backbone from ImageNet, frozen, with residual adapters, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 53.6 box AP (AP50 72.0) with a backbone from JFT-300M, which is not public; val2017; for one of the two
lengths, and the notes here do not say which; not trained by us.
Ours: adapters beside the 3x3 convolutions, with a tenth of the learning rate (docs/frozen.md).
Length: 1,108,940 iterations of 64 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_r101_adapter_nasfpn_cascade_600e.py 8
"""

_base_ = './freeze_r101_nasfpn_cascade_600e.py'

model = dict(backbone=dict(conv_cfg=dict(type='ConvWithAdapter')))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'.adapter.': dict(lr_mult=0.1)}))
