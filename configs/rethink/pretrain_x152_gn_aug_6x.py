"""Mask R-CNN X152-8x32d-FPN, GN, scale augmentation, fine-tuned from ImageNet, 6x.

Rethinking ImageNet Pre-training, section 5.1, "large models"; 4.2 times the multiply-adds of R101.
Published: without a number in the text (with cascade and --tta, 50.3); not trained by us.
Weights: ImageNet weights of X152 with GN are not public. X152_GN_WEIGHTS names a file of yours, with the parameters of
MMDetection's ResNeXt (layer1.0.conv1.weight, layer1.0.gn1.weight, …).
Length: 540k iterations of 16 images = 8.64 M images, 73 epochs of train2017.
Run: X152_GN_WEIGHTS=resnext152_8x32d_gn.pth bash tools/dist_train.sh configs/rethink/pretrain_x152_gn_aug_6x.py 8
"""

_base_ = './pretrain_r50_gn_aug_6x.py'

weights = '{{$X152_GN_WEIGHTS:checkpoints/resnext152_8x32d_gn.pth}}'
model = dict(
    backbone=dict(type='ResNeXt', depth=152, groups=8, base_width=32, init_cfg=dict(checkpoint=weights)),
)
