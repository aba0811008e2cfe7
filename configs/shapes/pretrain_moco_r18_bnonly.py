"""Study B in miniature, HPT-BN: of the backbone learnt from the source BN alone is trained on the target.

Length: 100 iterations of 64 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18_bnonly.py
"""

_base_ = './pretrain_moco_r18.py'

custom_hooks = [*_base_.custom_hooks, dict(type='TrainBNOnlyHook', also=['neck'])]
