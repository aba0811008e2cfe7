"""RetinaNet ResNet-RS-101-NAS-FPN, fine-tuned from ImageNet, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 640 x 640.
Published: without a number in the notes here (docs/frozen.md); not trained by us.
Weights: timm's, of another training than the release's, with ReLU as its config has it (docs/frozen.md).
Length: 277,235 iterations of 256 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/finetune_rs101_retinanet_nasfpn_600e.py 8
"""

_base_ = [
    '../_base_/models/retinanet_rs101_nasfpn.py',
    '../_base_/datasets/coco_detection_lsj_640.py',
    '../_base_/schedules/schedule_retinanet_600e.py',
]
