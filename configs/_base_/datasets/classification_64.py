"""As classification_224.py for shapes: 64 pixels, 64 images, one process that loads."""

_base_ = './classification_224.py'

size = 64
train_pipeline = [_base_.train_pipeline[0], dict(_base_.train_pipeline[1], scale=size), *_base_.train_pipeline[2:]]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=size * 256 // 224),
    dict(_base_.test_pipeline[2], crop_size=size),
    _base_.test_pipeline[3],
]

train_dataloader = val_dataloader = test_dataloader = dict(batch_size=64, num_workers=1)
