"""Scale augmentation in miniature: Mask R-CNN R18-FPN, GN, from random weights, 6x, shorter side from 102 to 128.

The ratio is that of 640 to 800 (rethink/scratch_r50_gn_aug_9x.py).
Length: 1800 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_r18_gn_aug_6x.py
"""

_base_ = './scratch_r18_gn_6x.py'

train_pipeline = _base_.train_pipeline
train_pipeline.insert(2, dict(type='RandomResize', scale=[(128, 102), (128, 128)], keep_ratio=True))
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
