"""Study A in miniature: Mask R-CNN R18-FPN, GN, from random weights, 1x (docs/shapes.md).

Length: 300 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_gn_1x.py
"""

_base_ = './pretrain_r18_gn_1x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
