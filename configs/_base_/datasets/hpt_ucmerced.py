"""UC Merced land use, aerial scenes of 256 x 256: 21 classes, one label; 2,100 images, 100 of each class. Yang and
Newsam 2010, http://weegee.vision.ucmerced.edu/datasets/landuse.html (USGS imagery, public domain). HPT, table of data
sets.

    data/ucmerced/UCMerced_LandUse/Images/<class>/<class><number>.tif
    data/ucmerced/uc_merced-{train,val,test}.txt        optional: file names, a line each

There is no official split. The release takes 60 / 20 / 20 % from Neumann et al. 2019 (arXiv 1911.06721), whose lists
(1,260, 420 and 420 images) TorchGeo links; where they are not there the same shares are drawn (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/ucmerced/'
num_classes = 21
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.4842, 0.4901, 0.4505)]
std = [255 * value for value in (0.2180, 0.2021, 0.1958)]

# What tools/dataset_converters reads.
layout = dict(
    type='class_folders',
    images='UCMerced_LandUse/Images',
    lists='uc_merced-{split}.txt',
    shares=(0.6, 0.2, 0.2),
)
num_images = 2_100

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
