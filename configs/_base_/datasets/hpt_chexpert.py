"""CheXpert, chest radiographs: 5 findings (those of its competition), several labels; 223,414 images for training and
234 for validation. Irvin et al. 2019, https://stanfordmlgroup.github.io/competitions/chexpert (registration, own
research agreement): "CheXpert-v1.0-small". HPT, table of data sets.

    data/chexpert/CheXpert-v1.0-small/{train,valid}.csv
    data/chexpert/CheXpert-v1.0-small/{train,valid}/patient*/study*/*.jpg

The official test images were not public: the official validation is the test here, and the images of 10 % of the
training patients are held out for validation (ours). Uncertain (-1) and blank entries stay what they are in the
splits, and the readers take both as negative, as the paper does.
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/chexpert/'
num_classes = 5
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.5028, 0.5028, 0.5028)]
std = [255 * value for value in (0.2919, 0.2919, 0.2919)]

# What tools/dataset_converters reads.
layout = dict(type='chexpert', folder='CheXpert-v1.0-small', val=0.1)
num_images = 223_648

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
