"""Study B in miniature, Target: MoCo v2 R18 on the target without labels, from random initialisation.

The length is that of a step with a base; what it takes to get as far without one is a question of longer ones, such as
`train_cfg.max_iters=500 param_scheduler.0.end=500` (docs/hpt.md).
Length: 100 iterations of 64 images.
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
    checkpoint=dict(interval=50, max_keep_ckpts=1),
)
log_processor = dict(window_size=20)
