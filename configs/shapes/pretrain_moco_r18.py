"""Study B in miniature, Base+Target: MoCo v2 R18 on the target, beginning with the backbone learnt from the source.

Length: 100 iterations of 64 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18.py
"""

_base_ = './scratch_moco_r18.py'

base = 'work_dirs/base_moco_r18/backbone.pth'
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base), *_base_.custom_hooks]
