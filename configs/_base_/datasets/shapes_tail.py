"""Shapes, detection with a long tail: 400 scenes of 96 pixels, ten classes, of which the first has hundreds of objects
and the last a few; boxes.

python tools/dataset_converters/make_shapes.py data/shapes --tail
"""

_base_ = './shapes_instance.py'

data_root = 'data/shapes/tail_detection/'
# From the most frequent to the rarest.
metainfo = dict(
    _delete_=True,
    classes=(
        'ellipse',
        'arrow',
        'triangle',
        'heart',
        'rectangle',
        'crescent',
        'star',
        'angle',
        'cross',
        'hourglass',
    ),
)

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='LoadAnnotations', with_bbox=True),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    _base_.test_pipeline[3],
]
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json', metric='bbox')
test_evaluator = val_evaluator
