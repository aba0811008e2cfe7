"""PASCAL VOC in miniature: Faster R-CNN R18-FPN, GN, from random weights, 1x.

Length: 300 iterations of 8 images.
Run: python tools/dataset_converters/make_shapes.py data/shapes --voc
     python tools/train.py configs/shapes/scratch_r18_gn_voc_1x.py
"""

_base_ = './pretrain_r18_gn_voc_1x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
