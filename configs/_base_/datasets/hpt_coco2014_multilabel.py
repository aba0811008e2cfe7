"""COCO 2014, which categories are in an image: 80 classes, several labels; 82,783 images for training, 40,504 for
validation. Lin et al. 2014, https://cocodataset.org/#download (annotations CC BY 4.0). HPT, table of data sets.

    data/coco2014/{train,val}2014/*.jpg
    data/coco2014/annotations/instances_{train,val}2014.json

The official val is the test here (labels of the official test are not public), and 10 % of the official train are held
out for validation (ours). Images without an object have no label, which is an answer too.
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/coco2014/'
num_classes = 80
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.4702, 0.4470, 0.4076)]
std = [255 * value for value in (0.2785, 0.2740, 0.2889)]

# What tools/dataset_converters reads.
layout = dict(type='coco', year=2014, val=0.1)
num_images = 123_287

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
