"""Mask R-CNN R50-FPN, GN, 1k images, fine-tuned, 60k iterations.

Rethinking ImageNet Pre-training, section 5.2.
Published: 9.9 box AP, val2017; not trained by us.
Ours: length, hyper-parameters of the 35k arms (the paper gives neither), drops at 2/3 and 8/9.
Length: 60k iterations of 16 images = 0.96 M images, 960 epochs of these images.
Data: 1k images of train2017, docs/data.md.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_1k_60ki.py 8
"""

_base_ = './pretrain_r50_gn_10k_60ki.py'

train_dataloader = dict(dataset=dict(ann_file='annotations/instances_train2017_1k.json'))
