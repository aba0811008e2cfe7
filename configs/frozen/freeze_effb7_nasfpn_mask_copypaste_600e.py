"""Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, backbone from ImageNet, frozen, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 57.0 box AP, 48.7 mask AP, val2017; not trained by us.
Ours: batch size, learning rate and length, which the notes here do not have for EfficientNet-B7: those of the
two-stage detectors.
Length: 1,108,940 iterations of 64 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_effb7_nasfpn_mask_copypaste_600e.py 8
"""

_base_ = './finetune_effb7_nasfpn_mask_copypaste_600e.py'

model = dict(backbone=dict(type='FrozenBackbone', of='EfficientNet'))
