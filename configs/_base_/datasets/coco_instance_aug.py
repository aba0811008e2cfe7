"""COCO 2017 boxes and masks with train-time scale augmentation: shorter side drawn from 640 to 800 for each image.

Rethinking ImageNet Pre-training, section 5.1, "enhanced baselines"; longer side at most 1333, horizontal flip.
"""

_base_ = './coco_instance.py'

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LazyLoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PlanarPackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
