"""COCO 2017 boxes alone, with train-time scale augmentation: shorter side drawn from 640 to 800 for each image.

Rethinking ImageNet Pre-training, section 5.1; longer side at most 1333, horizontal flip.
"""

_base_ = './coco_instance_aug.py'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations', with_bbox=True),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    *_base_.test_pipeline[:2],
    dict(type='LoadAnnotations', with_bbox=True),
    _base_.test_pipeline[3],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
