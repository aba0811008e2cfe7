"""Faster R-CNN ResNet-RS-101-NAS-FPN, backbone from ImageNet, frozen, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1024 x 1024.
Published: 0.1 box AP more than fine-tuned, val2017, with 39.9 % of 102.6 M parameters trained; for one of the two
lengths, and the notes here do not say which; not trained by us.
Weights: the framework's, converted once by tools/model_converters/resnet_rs.py (docs/frozen.md).
Length: 133,056 iterations of 64 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_rs101_nasfpn_72e.py 8
"""

_base_ = './finetune_rs101_nasfpn_72e.py'

model = dict(backbone=dict(type='FrozenBackbone', of='ResNetRS'))
