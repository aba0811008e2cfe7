"""RetinaNet ResNet-RS-101-FPN, fine-tuned from ImageNet, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 640 x 640.
Published: without a number in the notes here (docs/frozen.md); not trained by us.
Weights: timm's, of another training than the release's, with ReLU as its config has it (docs/frozen.md).
Length: 33,264 iterations of 256 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_rs101_retinanet_fpn_72e.py 8
"""

_base_ = [
    '../_base_/models/retinanet_rs101_fpn.py',
    '../_base_/datasets/coco_detection_lsj_640.py',
    '../_base_/schedules/schedule_retinanet_72e.py',
]
