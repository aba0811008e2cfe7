"""DomainNet, infograph: 345 classes, one label; 36,023 images for training and 15,582 for testing. Peng et al. 2019,
https://ai.bu.edu/M3SDA (fair use, not commercial): the cleaned version's archive and two lists of this domain. HPT,
table of data sets.

    data/domainnet/infograph/<class>/*
    data/domainnet/infograph_{train,test}.txt      a line for each image: infograph/<class>/<file>, space, label

10 % of each class's training images are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/domainnet/infograph/'
num_classes = 345
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.6888, 0.6970, 0.6648)]
std = [255 * value for value in (0.3331, 0.3094, 0.3281)]

# What tools/dataset_converters reads.
layout = dict(type='domainnet', domain='infograph', val=0.1)
num_images = 51_605

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
