"""Cascade R-CNN ResNet-RS-101-NAS-FPN, fine-tuned from ImageNet, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 132.9 M parameters; AP as a difference alone, in the frozen one; not trained by us.
Weights: the framework's, converted once by tools/model_converters/resnet_rs.py (docs/frozen.md).
Length: 133,056 iterations of 64 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_rs101_nasfpn_cascade_72e.py 8
"""

_base_ = [
    '../_base_/models/cascade_rcnn_rs101_nasfpn_swish.py',
    '../_base_/datasets/coco_detection_lsj_1280.py',
    '../_base_/schedules/schedule_72e.py',
]
