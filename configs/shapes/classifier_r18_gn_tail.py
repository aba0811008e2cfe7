"""Study C in miniature: the stand-in for ImageNet, crops of ten classes, as many of each (docs/shapes.md).

Length: 900 iterations of 64 crops.
Data: python tools/dataset_converters/make_shapes.py data/shapes --tail
Run: python tools/train.py configs/shapes/classifier_r18_gn_tail.py
"""

_base_ = './classifier_r18_gn.py'

data_root = 'data/shapes/tail_classification/'
classes = (
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
)
train_dataloader = dict(dataset=dict(data_root=data_root, classes=classes))
val_dataloader = dict(dataset=dict(data_root=data_root, classes=classes))
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    head=dict(num_classes=len(classes)),
)

max_iters = 3 * 300
train_cfg = dict(max_iters=max_iters, val_interval=300)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, T_max=max_iters)]
