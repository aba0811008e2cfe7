"""Cascade Mask R-CNN EfficientNet-B7-NAS-FPN, Copy-Paste, backbone from ImageNet, frozen, 180,000 iterations.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: 57.0 box AP, 48.7 mask AP, val2017; not trained by us.
Settings: those of the Copy-Paste release, https://arxiv.org/abs/2012.07177, whose result the fine-tuned one is.
Length: 180,000 iterations of 256 images = 46.08 M images, 390 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/freeze_effb7_nasfpn_cascade_mask_copypaste_180ki.py 8
"""

_base_ = './finetune_effb7_nasfpn_cascade_mask_copypaste_180ki.py'

model = dict(backbone=dict(type='FrozenBackbone', of='EfficientNet'))
