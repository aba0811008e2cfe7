"""Less data in miniature: Mask R-CNN R18-FPN, GN, 100 scenes, fine-tuned from the classifier of crops, 6x.

Section 5.2 of Rethinking ImageNet Pre-training; what came of it is in docs/shapes.md. Other sizes are overrides of
train_dataloader.dataset.ann_file.
Length: 1800 iterations of 8 images, 138 epochs of these images (the last iteration of each has 4).
Data: python tools/dataset_converters/coco_subset.py \\
    data/shapes/detection/annotations/instances_train2017.json --sizes 100
Run: python tools/train.py configs/shapes/classifier_r18_gn.py
     python tools/train.py configs/shapes/pretrain_r18_gn_100_6x.py
"""

_base_ = './pretrain_r18_gn_6x.py'

train_dataloader = dict(dataset=dict(ann_file='annotations/instances_train2017_100.json'))
