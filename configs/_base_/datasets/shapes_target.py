"""Shapes, linear evaluation: labelled crops of the target as they are, 500 to train on and 500 to validate on.

python tools/dataset_converters/make_shapes.py data/shapes --domains
"""

_base_ = './shapes_classification.py'

data_root = 'data/shapes/target/'
# Without augmentation, features are computed once.
train_dataloader = dict(batch_size=100, dataset=dict(data_root=data_root, pipeline=_base_.test_pipeline))
val_dataloader = dict(batch_size=100, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
