"""Mask R-CNN R50-FPN, GN, 35k images, hyper-parameters of 118k, fine-tuned, 6x.

Rethinking ImageNet Pre-training, section 5.2.
Published: it overfits, without a number in the text; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 247 epochs of these images.
Data: the 35k images of train2017, docs/data.md.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_35k_6x.py 8
"""

_base_ = './pretrain_r50_gn_6x.py'

train_dataloader = dict(dataset=dict(ann_file='annotations/instances_train2017_35k.json'))
