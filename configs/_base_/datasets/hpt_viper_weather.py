"""VIPER (Playing for Benchmarks), weather of synthetic driving scenes of 1920 x 1080: 6 classes, one label. Richter et
al. 2017, https://playing-for-benchmarks.org (for research; images as JPEG). HPT, table of data sets.

    data/viper/{train,val,test}/img/<sequence>/<sequence>_<frame>.jpg
    data/viper/weather.txt                              a line for each sequence: its number, a space, its weather

The lists with which the paper labels frames are not published, so weather.txt is to be written by hand from the
conditions of each sequence; it names 6 kinds. Splits are the official ones, by sequence; frames of a sequence that
weather.txt lacks are unlabelled.
"""

_base_ = './hpt_single_label.py'

data_root = 'data/viper/'
num_classes = 6
# RGB, of pixels from 0 to 255; published in [0, 1].
mean = [255 * value for value in (0.3485, 0.3422, 0.3395)]
std = [255 * value for value in (0.2449, 0.2408, 0.2390)]

# What tools/dataset_converters reads.
layout = dict(type='viper_weather')
num_images = None

unlabelled_set = dict(data_root=data_root)
train_set = val_set = test_set = train_1000_set = dict(data_root=data_root, classes=data_root + 'splits/classes.txt')
