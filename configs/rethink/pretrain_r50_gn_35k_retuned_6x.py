"""Mask R-CNN R50-FPN, GN, 35k images, re-tuned hyper-parameters, fine-tuned, 6x.

Rethinking ImageNet Pre-training, section 5.2.
Published: 36.3 box AP, val2017, best at 6x; not trained by us.
Length: 540k iterations of 16 images = 8.64 M images, 247 epochs of these images.
Data: the 35k images of train2017, docs/data.md.
Run: bash tools/dist_train.sh configs/rethink/pretrain_r50_gn_35k_retuned_6x.py 8
"""

_base_ = './pretrain_r50_gn_35k_6x.py'

# Found by the paper's grid search on the fine-tuned arm: shorter side from 512, learning rate 0.04, decay to 0.02.
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type='RandomResize', scale=[(1333, 512), (1333, 800)], keep_ratio=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.04))
param_scheduler = [_base_.param_scheduler[0], dict(_base_.param_scheduler[1], gamma=0.02)]
