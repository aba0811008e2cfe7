"""Two views of each image, augmented as in MoCo v2 with the values of HPT's released configs, 64 images a process.

A config adds the images: `train_dataloader = dict(dataset=dict(**_base_.unlabelled_set, pipeline=_base_.pipeline))`.
"""

view_size = 224
view = [
    dict(type='FastRandomResizedCrop', scale=view_size, crop_ratio_range=(0.2, 1.0), backend='pillow'),
    dict(
        type='RandomApply',
        # torchvision's, as in the released configs; mmcv 2.1.0 cannot turn a hue back with numpy 2.
        transforms=[
            dict(type='NumpyToPIL', to_rgb=True),
            dict(type='FastColorJitter', brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
            dict(type='PILToNumpy', to_bgr=True),
        ],
        prob=0.8,
    ),
    # Luma of BGR.
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
    # An infinite deviation is a uniform draw.
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='RandomFlip', prob=0.5),
]
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MultiView', num_views=2, transforms=[view]),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
