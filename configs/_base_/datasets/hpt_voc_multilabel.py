"""Pascal VOC 2007 and 2012, which classes are in an image: 20 classes, several labels; train07+12 (8,218 images),
val07+12 (8,333), test07 (4,952). Everingham et al. 2010, http://host.robots.ox.ac.uk/pascal/VOC (images from Flickr).
HPT, table of data sets.

    data/VOCdevkit/VOC{2007,2012}/{JPEGImages,Annotations,ImageSets/Main}

A class whose only objects in an image are marked difficult is uncertain there, and the readers take it as negative;
VOC leaves such an image out of the class's evaluation.
"""

_base_ = './hpt_multi_label.py'

data_root = 'data/VOCdevkit/'
num_classes = 20
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.4511, 0.4292, 0.3967)]
std = [255 * value for value in (0.2764, 0.2729, 0.2849)]

# What tools/dataset_converters reads.
layout = dict(
    type='voc',
    sets=dict(train=('VOC2007/train', 'VOC2012/train'), val=('VOC2007/val', 'VOC2012/val'), test=('VOC2007/test',)),
)
num_images = 21_503

unlabelled_set = train_set = val_set = test_set = train_1000_set = dict(data_root=data_root)
