"""moco_views.py with views of 362 pixels."""

_base_ = './moco_views.py'

view_size = 362
view = [dict(_base_.view[0], scale=view_size), *_base_.view[1:]]
pipeline = [_base_.pipeline[0], dict(_base_.pipeline[1], transforms=[view]), _base_.pipeline[2]]
