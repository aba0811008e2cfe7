"""Shapes, study B's evaluations in miniature: which shapes are in a scene, five classes, several labels.

python tools/dataset_converters/make_shapes.py data/shapes
python tools/dataset_converters/make_splits.py configs/_base_/datasets/shapes_hpt_scenes.py
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/shapes/detection/'
num_classes = 5
# Those with which configs/_base_/models/moco_r18_shapes.py is trained.
mean = [127.5, 127.5, 127.5]
std = [64.0, 64.0, 64.0]

# What tools/dataset_converters reads.
layout = dict(type='coco', year=2017, val=0.1)
num_images = None

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
