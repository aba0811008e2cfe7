"""COCO 2017 boxes and masks, shorter side one of 640, 672, … 800 in training and 800 in test.

The longer side is at most 1200 in training, as in HPT's release (Reed et al., WACV 2022; MoCo's configs: 1333),
and 1333 in test. Detectron2 draws from so many sizes where coco_instance_aug.py draws any.
"""

_base_ = './coco_instance.py'

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type='RandomChoiceResize', scales=[(1200, shorter) for shorter in range(640, 801, 32)], keep_ratio=True),
    *_base_.train_pipeline[3:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
