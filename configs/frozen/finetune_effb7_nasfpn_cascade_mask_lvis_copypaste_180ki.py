"""Cascade Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, LVIS v1, fine-tuned from ImageNet, 180,000 iterations.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 41.6 box AP, 38.1 mask AP; rare classes 31.5 and 32.1; not trained by us.
Ours: the schedule, which is that of COCO. No class is repeated more often than another.
Length: 180,000 iterations of 256 images = 46.08 M images, 460 epochs of lvis_v1_train.
Run: bash tools/dist_train.sh configs/frozen/finetune_effb7_nasfpn_cascade_mask_lvis_copypaste_180ki.py 8
"""

_base_ = [
    '../_base_/models/cascade_mask_rcnn_effb7_nasfpn_lvis.py',
    '../_base_/datasets/lvis_v1_instance_copypaste_1280.py',
    '../_base_/schedules/schedule_copypaste_180ki.py',
]
