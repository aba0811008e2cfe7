"""PASCAL VOC boxes with train-time scale augmentation: shorter side drawn from 640 to 800 for each image."""

_base_ = './voc_detection.py'

train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type='RandomResize', scale=[(1333, 640), (1333, 800)], keep_ratio=True)
train_dataloader = dict(
    dataset=dict(
        datasets=[dict(part, pipeline=train_pipeline) for part in _base_.train_dataloader.dataset.datasets],
    ),
)
