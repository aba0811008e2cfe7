"""Shapes, detection: generated scenes in COCO's layout, 128 pixels, five classes, boxes and masks.

python tools/dataset_converters/make_shapes.py data/shapes
"""

_base_ = './coco_instance.py'

data_root = 'data/shapes/detection/'
metainfo = dict(
    classes=('ellipse', 'rectangle', 'triangle', 'star', 'cross'),
    palette=[(220, 20, 60), (0, 110, 220), (240, 170, 0), (0, 150, 80), (130, 60, 200)],
)

# The images are used at the size in which they are generated.
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LazyLoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PlanarPackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='LazyLoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PlanarPackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=True, min_size=8),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

# Test-time augmentation: three sizes around that of training, each also flipped.
tta_model = dict(tta_cfg=dict(max_per_img=30))
tta_scales = [(112, 112), (128, 128), (160, 160)]
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        _base_.tta_pipeline[1],
        transforms=[
            [dict(type='Resize', scale=scale, keep_ratio=True) for scale in tta_scales],
            *_base_.tta_pipeline[1].transforms[1:],
        ],
    ),
]
