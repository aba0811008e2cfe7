"""Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, LVIS v1, fine-tuned from ImageNet, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 41.6 box AP, 38.1 mask AP; rare classes 31.5 and 32.1; not trained by us.
Ours: batch size, learning rate and length, which the notes here do not have for EfficientNet-B7: those of the
two-stage detectors. No class is repeated more often than another.
Length: 939,000 iterations of 64 images = 60.10 M images, 600 epochs of lvis_v1_train.
Run: bash tools/dist_train.sh configs/frozen/finetune_effb7_nasfpn_mask_lvis_copypaste_600e.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_effb7_nasfpn_swish_lvis.py',
    '../_base_/datasets/lvis_v1_instance_copypaste_1280.py',
    '../_base_/schedules/schedule_lvis_600e.py',
]
