"""xView, crops of single objects in satellite images: 36 classes, one label. https://xviewdataset.org (registration;
CC BY-NC-SA 4.0): `train_images` (846 GeoTIFFs) and `xView_train.geojson`. HPT, table of data sets.

    data/xview/crops/<class>/<image>_<number>.png      <image>: number of the GeoTIFF, such as 1036

How the paper made crops of boxes and chose 36 of the 60 classes is not published, and neither are its lists. The crops
are to be made by whoever has the data; no tool here makes them. Splits are ours: 60 % for training, 20 % for
validation, 20 % for testing, with all crops of a GeoTIFF in one of them. Mean and standard deviation are published and
equal those of RESISC-45.
"""

_base_ = './hpt_single_label.py'

data_root = 'data/xview/'
num_classes = 36
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.368, 0.381, 0.3436)]
std = [255 * value for value in (0.2035, 0.1854, 0.1849)]

# What tools/dataset_converters reads.
layout = dict(type='class_folders', images='crops', shares=(0.6, 0.2, 0.2), group=r'(.+)_')
num_images = None

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
