"""Mask R-CNN R50-FPN, GN, 1k images, from random weights, 220k iterations.

Rethinking ImageNet Pre-training, section 5.2.
Published: 3.5 box AP, val2017 (5.4 with a grid search of its own); not trained by us.
Ours: length, hyper-parameters of the 35k arms (the paper gives neither), drops at 2/3 and 8/9.
Length: 220k iterations of 16 images = 3.52 M images, 3520 epochs of these images.
Data: 1k images of train2017, docs/data.md.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_1k_220ki.py 8
"""

_base_ = './scratch_r50_gn_10k_220ki.py'

train_dataloader = dict(dataset=dict(ann_file='annotations/instances_train2017_1k.json'))
