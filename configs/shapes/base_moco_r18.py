"""Study B in miniature, Base: MoCo v2 R18 on crops of single shapes without labels, in ImageNet's place.

Length: 200 iterations of 64 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
"""

_base_ = './scratch_moco_r18.py'

train_dataloader = dict(dataset=_base_.crops)
