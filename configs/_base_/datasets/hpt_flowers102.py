"""Oxford Flowers-102: 102 classes, one label; 1,020 images for training, 1,020 for validation, 6,149 for testing.
Nilsback and Zisserman 2008, https://www.robots.ox.ac.uk/~vgg/data/flowers/102 (images from the web): images, labels
and splits. HPT, table of data sets.

    data/flowers102/jpg/image_<number>.jpg
    data/flowers102/imagelabels.mat  setid.mat

Splits are the official ones. The download has no names: the classes are called '1' to '102'.
"""

_base_ = './hpt_single_label.py'

data_root = 'data/flowers102/'
num_classes = 102
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.4355, 0.3777, 0.2880)]
std = [255 * value for value in (0.2970, 0.2459, 0.2705)]

# What tools/dataset_converters reads.
layout = dict(type='flowers102')
num_images = 8_189

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
