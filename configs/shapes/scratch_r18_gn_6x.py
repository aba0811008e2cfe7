"""Study A in miniature: Mask R-CNN R18-FPN, GN, from random weights, 6x (docs/shapes.md).

Length: 1800 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_gn_6x.py
"""

_base_ = './pretrain_r18_gn_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
