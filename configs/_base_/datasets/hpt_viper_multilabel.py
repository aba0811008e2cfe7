"""VIPER as HPT's release evaluates it, synthetic driving scenes: 23 classes, several labels. For research,
https://playing-for-benchmarks.org. HPT, released configs (viper/linear-eval); the script that writes them says 6.

    data/viper_multilabel/meta/{train,val,test}_multi_label.txt
    data/viper_multilabel/…                             the images that the lists name; links do

The lists are not published, so they are to be brought: a line for each image, its path below data/viper_multilabel/, a
space, and 23 numbers 1 or 0 separated by commas. -1 is uncertain and counts as negative. What the classes are is not
published either, so that they are called 0 to 22. Single-label reading, of the weather: hpt_viper_weather.py.
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/viper_multilabel/'
num_classes = 23
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.3485, 0.3422, 0.3395)]
std = [255 * value for value in (0.2449, 0.2408, 0.2390)]

# What tools/dataset_converters reads.
layout = dict(type='released_lists', lists='meta/{split}_multi_label.txt', num_classes=num_classes)
num_images = None

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
