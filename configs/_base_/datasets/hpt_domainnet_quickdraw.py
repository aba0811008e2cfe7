"""DomainNet, quickdraw: 345 classes, one label; 120,750 images for training and 51,750 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/quickdraw/<class>/*
    data/domainnet/quickdraw_{train,test}.txt      a line for each image: quickdraw/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/quickdraw/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.9525, 0.9525, 0.9525)]
std = [255 * value for value in (0.2128, 0.2128, 0.2128)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='quickdraw', val=0.1)
num_images = 172_500

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
