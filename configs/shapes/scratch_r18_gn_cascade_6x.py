"""Study A's cascade in miniature: Mask R-CNN R18-FPN, GN, from random weights, a cascade for the last third, 6x.

The command trains Mask R-CNN up to iteration 1200 and continues it as a cascade (docs/cascade.md).
Length: 1800 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_gn_cascade_6x.py
"""

_base_ = [
    '../_base_/models/cascade_mask_rcnn_r18_fpn_gn_shapes.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_6x.py',
    '../_base_/shapes_runtime.py',
]

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
switch_from = dict(config='{{ fileDirname }}/scratch_r18_gn_6x.py', iteration=_base_.max_iters * 2 // 3)
# Tools that know nothing of the switch stop here.
default_hooks = dict(switch=dict(type='SwitchHook'))
