_base_ = [
    '../_base_/models/mask_rcnn_r18_fpn_gn_shapes.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_6x.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
