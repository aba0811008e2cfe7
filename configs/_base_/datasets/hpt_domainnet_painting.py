"""DomainNet, painting: 345 classes, one label; 50,416 images for training and 21,850 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/painting/<class>/*
    data/domainnet/painting_{train,test}.txt      a line for each image: painting/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/painting/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.5743, 0.5466, 0.5083)]
std = [255 * value for value in (0.3088, 0.3007, 0.3168)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='painting', val=0.1)
num_images = 72_266

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
