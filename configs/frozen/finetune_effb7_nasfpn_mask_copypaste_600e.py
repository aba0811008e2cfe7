"""Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, fine-tuned from ImageNet, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 55.9 box AP, 47.2 mask AP, val2017; not trained by us.
Ours: batch size, learning rate and length, which the notes here do not have for EfficientNet-B7: those of the
two-stage detectors.
Length: 1,108,940 iterations of 64 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_effb7_nasfpn_mask_copypaste_600e.py 8
"""

_base_ = [
    '../_base_/models/mask_rcnn_effb7_nasfpn_swish.py',
    '../_base_/datasets/coco_instance_copypaste_1280.py',
    '../_base_/schedules/schedule_600e.py',
]
