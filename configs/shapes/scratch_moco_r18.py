"""Study B in miniature, Target: MoCo v2 R18 on scenes without labels, from random initialisation.

Length: 200 iterations of 64 images.
Run: python tools/train.py configs/shapes/scratch_moco_r18.py
"""

_base_ = [
    '../_base_/models/moco_r18_shapes.py',
    '../_base_/datasets/shapes_unlabelled.py',
    '../_base_/schedules/shapes_moco.py',
    '../_base_/moco_runtime.py',
]

default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=100, max_keep_ckpts=2),
)
log_processor = dict(window_size=20)
