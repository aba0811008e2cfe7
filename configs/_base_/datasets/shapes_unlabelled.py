"""Shapes, two views of 64 pixels, no labels: crops of single shapes (the base's data) and scenes (the target's).

python tools/dataset_converters/make_shapes.py data/shapes
"""

_base_ = './moco_views.py'

view = [dict(_base_.view[0], scale=64), *_base_.view[1:]]
pipeline = [_base_.pipeline[0], dict(_base_.pipeline[1], transforms=[view]), _base_.pipeline[2]]

crops = dict(
    type='CustomDataset',
    data_root='data/shapes/classification/',
    data_prefix='train',
    with_label=False,
)
scenes = dict(
    type='CustomDataset',
    data_root='data/shapes/detection/',
    data_prefix='train2017',
    with_label=False,
)

train_dataloader = dict(num_workers=1, dataset=dict(scenes, pipeline=pipeline))
