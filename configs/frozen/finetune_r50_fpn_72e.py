"""Faster R-CNN R50-FPN, fine-tuned from ImageNet, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1024 x 1024.
Published: without a number in the notes here (docs/frozen.md); not trained by us.
Length: 133,056 iterations of 64 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_r50_fpn_72e.py 8
"""

_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn_swish.py',
    '../_base_/datasets/coco_detection_lsj_1024.py',
    '../_base_/schedules/schedule_72e.py',
]
