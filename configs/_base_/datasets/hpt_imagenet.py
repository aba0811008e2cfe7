"""ImageNet's training images without labels, for a base: 0 classes; 1,281,167 images. Russakovsky et al. 2015,
https://www.image-net.org (registration, for research). Not one of the sixteen: what the bases of HPT were trained on.

    data/imagenet/train/<synset>/*.JPEG
"""

_base_ = './hpt_single_label.py'

data_root = 'data/imagenet/'
num_classes = 0
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.485, 0.456, 0.406)]
std = [255 * value for value in (0.229, 0.224, 0.225)]

# What tools/dataset_converters reads.
layout = dict(type='unlabelled', images='train')
num_images = 1_281_167

unlabelled_set = dict(data_root=data_root)
