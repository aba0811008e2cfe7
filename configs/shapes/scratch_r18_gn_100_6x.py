"""Less data in miniature: Mask R-CNN R18-FPN, GN, 100 scenes, from random weights, 6x.

Section 5.2 of Rethinking ImageNet Pre-training; what came of it is in docs/shapes.md. Other sizes are overrides of
train_dataloader.dataset.ann_file.
Length: 1800 iterations of 8 images, 138 epochs of these images (the last iteration of each has 4).
Data: python tools/dataset_converters/coco_subset.py \\
    data/shapes/detection/annotations/instances_train2017.json --sizes 100
Run: python tools/train.py configs/shapes/scratch_r18_gn_100_6x.py
"""

_base_ = './pretrain_r18_gn_100_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
