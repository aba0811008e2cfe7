"""DomainNet, real: 345 classes, one label; 120,906 images for training and 52,041 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/real/<class>/*
    data/domainnet/real_{train,test}.txt      a line for each image: real/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/real/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.6059, 0.5890, 0.5558)]
std = [255 * value for value in (0.3344, 0.3279, 0.3493)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='real', val=0.1)
num_images = 172_947

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
