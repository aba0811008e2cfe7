"""Shapes, two views of 32 pixels, no labels: crops of the source, a mix of looks, and a tenth as many of the target.

python tools/dataset_converters/make_shapes.py data/shapes --domains
"""

_base_ = './moco_views.py'

size = 32
_, *colours, blur, flip = _base_.view
view = [
    # A shape covers a quarter to a half of a crop: a view of less of it than this often has none of the shape.
    dict(_base_.view[0], scale=size, crop_ratio_range=(0.4, 1.0)),
    *colours,
    # As wide, of the view, as in views of 224 pixels.
    dict(blur, magnitude_range=(0.1, 2.0 * size / _base_.view_size)),
    flip,
]
pipeline = [_base_.pipeline[0], dict(_base_.pipeline[1], transforms=[view]), _base_.pipeline[2]]

source = dict(
    type='CustomDataset',
    data_root='data/shapes/source/',
    data_prefix='train',
    with_label=False,
)
target = dict(source, data_root='data/shapes/target/')

train_dataloader = dict(num_workers=1, dataset=dict(target, pipeline=pipeline))
