"""Figure 6 in miniature: Mask R-CNN R18-FPN for stick figures, GN, from random weights.

Length: 600 iterations of 8 images.
Run: python tools/dataset_converters/make_shapes.py data/shapes --figures
     python tools/train.py configs/shapes/scratch_r18_gn_keypoint_1x.py
"""

_base_ = './pretrain_r18_gn_keypoint_1x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
