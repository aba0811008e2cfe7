"""DomainNet, sketch: 345 classes, one label; 48,212 images for training and 20,916 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/sketch/<class>/*
    data/domainnet/sketch_{train,test}.txt      a line for each image: sketch/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/sketch/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.8327, 0.8270, 0.8179)]
std = [255 * value for value in (0.2727, 0.2753, 0.2810)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='sketch', val=0.1)
num_images = 69_128

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
