"""DomainNet, clipart: 345 classes, one label; 33,525 images for training and 14,604 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/clipart/<class>/*
    data/domainnet/clipart_{train,test}.txt      a line for each image: clipart/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/clipart/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.7362, 0.7167, 0.6834)]
std = [255 * value for value in (0.3642, 0.3654, 0.3887)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='clipart', val=0.1)
num_images = 48_129

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
