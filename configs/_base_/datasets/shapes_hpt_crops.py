"""Shapes, study B's evaluations in miniature: which shape is in a crop, five classes, one label, splits drawn.

python tools/dataset_converters/make_shapes.py data/shapes
python tools/dataset_converters/make_splits.py configs/_base_/datasets/shapes_hpt_crops.py
"""

_base_ = './hpt_single_label.py'

data_root = 'data/shapes/classification/'
num_classes = 5
# Those with which configs/_base_/models/moco_r18_shapes.py is trained.
mean = [127.5, 127.5, 127.5]
std = [64.0, 64.0, 64.0]

# What tools/dataset_converters reads.
layout = dict(type='class_folders', images='train', shares=(0.6, 0.2, 0.2))
num_images = None

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
