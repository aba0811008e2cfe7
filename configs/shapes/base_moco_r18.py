"""Study B in miniature, Base: MoCo v2 R18 on the source, a mix of crops without labels, in ImageNet's place.

Length: 800 iterations of 64 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
"""

_base_ = './scratch_moco_r18.py'

train_dataloader = dict(dataset=_base_.source)
max_iters = 8 * 100
train_cfg = dict(max_iters=max_iters)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters)]
