"""Readers of a data set with several labels for each image (study B); the data set's own file adds its facts.

As hpt_single_label.py, but for the labelled splits, which are JSON in OpenMMLab's format:

    splits/train.json  val.json  test.json  train_1000.json
        {"metainfo": {"classes": [name, …]},
         "data_list": [{"img_path": path, "gt_label": [indices], "uncertain": [indices], "missing": [indices]}, …]}

`gt_label` are the positive classes. `uncertain` and `missing` are there where an image has such classes: what they
count as is said here by the reader and not in the file.
"""

multi_label = True

unlabelled_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/unlabelled.txt', with_label=False)
train_set = dict(type='UncertainMultiLabelDataset', ann_file='splits/train.json', uncertain='negative')
val_set = dict(type='UncertainMultiLabelDataset', ann_file='splits/val.json', uncertain='negative', test_mode=True)
test_set = dict(type='UncertainMultiLabelDataset', ann_file='splits/test.json', uncertain='negative', test_mode=True)
train_1000_set = dict(type='UncertainMultiLabelDataset', ann_file='splits/train_1000.json', uncertain='negative')

# Of a classifier of such images. The loss is the mean over images and classes, as in the release.
head = dict(type='MultiLabelLinearClsHead', loss=dict(type='MeanBCELoss'))
# A class with one kind of image counts 0 in the mean, as in the release; 'ignored' leaves it out.
evaluator = [dict(type='MultiLabelAUROC', uncertain='negative', missing='negative', one_sided='zero')]
metric = 'multi-label/AUROC'
