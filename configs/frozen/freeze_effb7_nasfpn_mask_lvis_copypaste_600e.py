"""Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, LVIS v1, backbone from ImageNet, frozen, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 43.1 box AP, 39.9 mask AP; rare classes 33.2 and 33.6; not trained by us.
Ours: batch size, learning rate and length, which the notes here do not have for EfficientNet-B7: those of the
two-stage detectors. No class is repeated more often than another.
Length: 939,000 iterations of 64 images = 60.10 M images, 600 epochs of lvis_v1_train.
Run: bash tools/dist_train.sh configs/frozen/freeze_effb7_nasfpn_mask_lvis_copypaste_600e.py 8
"""

_base_ = './finetune_effb7_nasfpn_mask_lvis_copypaste_600e.py'

model = dict(backbone=dict(type='FrozenBackbone', of='EfficientNet'))
