"""Cascade Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, LVIS v1, backbone from ImageNet, frozen, 180,000 iterations.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 43.1 box AP, 39.9 mask AP; rare classes 33.2 and 33.6; not trained by us.
Ours: the schedule, which is that of COCO. No class is repeated more often than another.
Length: 180,000 iterations of 256 images = 46.08 M images, 460 epochs of lvis_v1_train.
Run: bash tools/dist_train.sh configs/frozen/freeze_effb7_nasfpn_cascade_mask_lvis_copypaste_180ki.py 8
"""

_base_ = './finetune_effb7_nasfpn_cascade_mask_lvis_copypaste_180ki.py'

model = dict(backbone=dict(type='FrozenBackbone', of='EfficientNet'))
