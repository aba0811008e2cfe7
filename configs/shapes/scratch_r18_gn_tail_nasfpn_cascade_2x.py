"""Study C in miniature: Cascade R-CNN R18-NAS-FPN, GN, on a long tail of shapes, from random weights, 2x.

Length: 600 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_gn_tail_nasfpn_cascade_2x.py
"""

_base_ = './finetune_r18_gn_tail_nasfpn_cascade_2x.py'

model = dict(backbone=dict(init_cfg=None))
