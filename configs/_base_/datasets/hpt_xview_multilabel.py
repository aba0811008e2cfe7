"""xView as HPT's release evaluates it, crops of satellite images: 36 classes, several labels.
https://xviewdataset.org (registration; CC BY-NC-SA 4.0). HPT, released configs (xview/linear-eval).

    data/xview_multilabel/meta/{train,val,test}.txt
    data/xview_multilabel/…                 the images that the lists name; links do

The lists are not published, so they are to be brought: a line for each image, its path below data/xview_multilabel/, a
space, and 36 numbers 1 or 0 separated by commas. -1 is uncertain and counts as negative. What the classes are is not
published either, so that they are called 0 to 35. Single-label reading, of crops of one object: hpt_xview.py.
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/xview_multilabel/'
num_classes = 36
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.368, 0.381, 0.3436)]
std = [255 * value for value in (0.2035, 0.1854, 0.1849)]

# What tools/dataset_converters reads.
layout = dict(type='released_lists', lists='meta/{split}.txt', num_classes=num_classes)
num_images = None

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
