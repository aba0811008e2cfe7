"""Faster R-CNN R101-NAS-FPN, backbone from ImageNet, frozen, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1024 x 1024.
Published: without a number in the notes here (docs/frozen.md); not trained by us.
Length: 133,056 iterations of 64 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_r101_nasfpn_72e.py 8
"""

_base_ = './finetune_r101_nasfpn_72e.py'

model = dict(backbone=dict(type='FrozenBackbone', of='ResNet'))
