"""NWPU-RESISC45, aerial scenes of 256 x 256: 45 classes, one label; 31,500 images, 700 of each class. Cheng et al.
2017, https://gcheng-nwpu.github.io (for research). HPT, table of data sets.

    data/resisc45/NWPU-RESISC45/<class>/<class>_<number>.jpg
    data/resisc45/resisc45-{train,val,test}.txt         optional: file names, a line each

There is no official split. The release takes 60 / 20 / 20 % from Neumann et al. 2019 (arXiv 1911.06721), whose lists
(18,900, 6,300 and 6,300 images) TorchGeo links; where they are not there the same shares are drawn (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/resisc45/'
num_classes = 45
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.368, 0.381, 0.3436)]
std = [255 * value for value in (0.2035, 0.1854, 0.1849)]

# What tools/dataset_converters reads.
layout = dict(type='class_folders', images='NWPU-RESISC45', lists='resisc45-{split}.txt', shares=(0.6, 0.2, 0.2))
num_images = 31_500

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
