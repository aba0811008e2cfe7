"""Mask R-CNN X152-32x8d-FPN, GN, scale augmentation, fine-tuned from ImageNet, 6x.

Rethinking ImageNet Pre-training, section 5.1, "large models"; about four times the FLOPs of R101.
Published: without a number in the text (with cascade and --tta, 50.3); not trained by us.
Weights: ImageNet weights of X152 with GN are not public. X152_GN_WEIGHTS names a file of yours, with the parameters of
MMDetection's ResNeXt (layer1.0.conv1.weight, layer1.0.gn1.weight, …).
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: X152_GN_WEIGHTS=resnext152_32x8d_gn.pth bash tools/dist_train.sh configs/rethink/pretrain_x152_gn_aug_6x.py 8
"""

_base_ = './pretrain_r50_gn_aug_6x.py'

weights = '{{$X152_GN_WEIGHTS:checkpoints/resnext152_32x8d_gn.pth}}'
model = dict(
    backbone=dict(type='ResNeXt', depth=152, groups=32, base_width=8, init_cfg=dict(checkpoint=weights)),
)
