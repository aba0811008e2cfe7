"""Readers of a data set with one label for each image (study B); the data set's own file adds its facts.

They read what `python tools/dataset_converters/make_splits.py configs/_base_/datasets/hpt_*.py` writes below
`data_root`, all of it in UTF-8 and with paths relative to `data_root`:

    splits/train.txt  val.txt  test.txt     a line for each image: path, space, label (from 0)
    splits/train_1000.txt                   1,000 lines of train.txt, every class among them
    splits/unlabelled.txt                   a path in each line: all of train and val and what has no label, never
                                            test; in random order, so that the first k lines are a random share
    splits/classes.txt                      the names, in the order of the labels
    splits/splits.json                      how it was made: seed, counts, images that were left out
"""

multi_label = False

unlabelled_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/unlabelled.txt', with_label=False)
train_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/train.txt')
val_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/val.txt', test_mode=True)
test_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/test.txt', test_mode=True)
train_1000_set = dict(type='mmpretrain.CustomDataset', ann_file='splits/train_1000.txt')

# Of a classifier of such images. Top-1, and recall averaged over the classes, which is mean per-class accuracy.
head = dict(type='LinearClsHead', loss=dict(type='CrossEntropyLoss'), topk=1)
evaluator = [dict(type='Accuracy', topk=1), dict(type='SingleLabelMetric', items=['recall'])]
metric = 'accuracy/top1'
