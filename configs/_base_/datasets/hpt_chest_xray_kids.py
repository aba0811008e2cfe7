"""Chest X-rays of children: 3 classes (normal, bacterial pneumonia, viral pneumonia), one label; 5,232 images for
training and 624 for testing. Kermany et al. 2018, https://data.mendeley.com/datasets/rscbjbr9sj (CC BY 4.0):
"ChestXRay2017". HPT, table of data sets.

    data/chest_xray_kids/chest_xray/{train,test}/{NORMAL,PNEUMONIA}/*.jpeg    a `val` beside them is training data

The released configs say 10 classes, a placeholder; there are 3, and file names tell bacteria from virus. The images of
10 % of the training patients are held out for validation (ours).
"""

_base_ = './hpt_single_label.py'

data_root = 'data/chest_xray_kids/'
num_classes = 3
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.4815, 0.4815, 0.4815)]
std = [255 * value for value in (0.2377, 0.2377, 0.2377)]

# What tools/dataset_converters reads.
layout = dict(type='chest_xray_kids', folder='chest_xray', val=0.1)
num_images = 5_856

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
