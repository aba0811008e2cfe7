"""Faster R-CNN ResNet-RS-101-FPN, fine-tuned from ImageNet, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1024 x 1024.
Published: 83.5 M parameters; AP as a difference alone, in the frozen one; not trained by us.
Weights: the framework's, converted once by tools/model_converters/resnet_rs.py (docs/frozen.md).
Length: 1,108,940 iterations of 64 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_rs101_fpn_600e.py 8
"""

_base_ = [
    '../_base_/models/faster_rcnn_rs101_fpn_swish.py',
    '../_base_/datasets/coco_detection_lsj_1024.py',
    '../_base_/schedules/schedule_600e.py',
]
