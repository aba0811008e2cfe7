"""Shapes, detection, in PASCAL VOC's layout: the scenes of shapes_instance.py, boxes alone, VOC's metric.

python tools/dataset_converters/make_shapes.py data/shapes --voc
"""

_base_ = './voc_detection.py'

# As VOCDataset, but the classes of VOC have no part in it: VOCMetric would print their names.
dataset_type = 'XMLDataset'
data_root = 'data/shapes/voc/'
metainfo = dict(
    classes=('ellipse', 'rectangle', 'triangle', 'star', 'cross'),
    palette=[(220, 20, 60), (0, 110, 220), (240, 170, 0), (0, 150, 80), (130, 60, 200)],
)

# The images are used at the size in which they are generated.
train_pipeline = [*_base_.train_pipeline[:2], *_base_.train_pipeline[3:]]
test_pipeline = _base_.test_pipeline
test_pipeline[1] = dict(type='Resize', scale=(128, 128), keep_ratio=True)
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(
        datasets=[
            dict(
                part,
                type=dataset_type,
                data_root=data_root,
                metainfo=metainfo,
                filter_cfg=dict(filter_empty_gt=True, min_size=8),
                pipeline=train_pipeline,
            )
            for part in _base_.train_dataloader.dataset.datasets
        ],
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type=dataset_type, data_root=data_root, metainfo=metainfo, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

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
