"""Images of 224 pixels for evaluations of a backbone by classification, 128 images a process (study B).

A config adds the images: `train_dataloader = dict(dataset=dict(_base_.train_set, pipeline=_base_.train_pipeline))`.
"""

size = 224
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='FastRandomResizedCrop', scale=size, backend='pillow'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=size * 256 // 224, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=size),
    dict(type='PackInputs', meta_keys=('img_path', 'uncertain', 'missing')),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = test_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
