"""Faster R-CNN ResNet-RS-101-FPN, backbone from ImageNet, frozen, 600 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1024 x 1024.
Published: 6.5 box AP less than fine-tuned, val2017, with 26.1 % of 83.5 M parameters trained; for one of the two
lengths, and the notes here do not say which; not trained by us.
Weights: the framework's, converted once by tools/model_converters/resnet_rs.py (docs/frozen.md).
Length: 1,108,940 iterations of 64 images = 70.97 M images, 600 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_rs101_fpn_600e.py 8
"""

_base_ = './finetune_rs101_fpn_600e.py'

model = dict(backbone=dict(type='FrozenBackbone', of='ResNetRS'))
