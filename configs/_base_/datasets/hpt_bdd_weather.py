"""BDD100K, weather of driving scenes of 1280 x 720: 6 classes, one label. Yu et al. 2020, https://bdd-data.berkeley.edu
(registration; own licence): "100K Images" and "Labels". HPT, table of data sets.

    data/bdd100k/images/100k/{train,val}/*.jpg          70,000 and 10,000 images
    data/bdd100k/labels/bdd100k_labels_images_{train,val}.json

Labels of the official test images are not public: the official val is the test here, and 10,000 in 70,000 of the
official train are held out for validation (ours; the paper does so for detection). Images whose weather is 'undefined'
or not annotated are in the unlabelled split alone.
"""

_base_ = './hpt_single_label.py'

data_root = 'data/bdd100k/'
num_classes = 6
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.2789, 0.2929, 0.2902)]
std = [255 * value for value in (0.2474, 0.2653, 0.2761)]

# What tools/dataset_converters reads.
layout = dict(type='bdd_weather', val=1 / 7)
num_images = 80_000

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
