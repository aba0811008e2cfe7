"""Faster R-CNN R101-FPN, GN, scale augmentation, PASCAL VOC, from random weights, 144k iterations.

Rethinking ImageNet Pre-training, section 5.2. On COCO training from scratch catches up; here it does not.
Published: 77.6 VOC mAP, val2012; not trained by us.
Ours: batch size, learning rate and range of scales as on COCO (the paper gives none for VOC), drops at 2/3 and 8/9.
Length: 144k iterations of 16 images = 2.30 M images, 215 epochs of the 10,728 images of trainval2007 + train2012; the
paper says 15k images of the same sets (docs/data.md).
Run: bash tools/dist_train.sh configs/rethink/scratch_r101_gn_voc_144ki.py 8
"""

_base_ = './pretrain_r101_gn_voc_18ki.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
max_iters = 144_000
milestones = [max_iters * 2 // 3, max_iters * 8 // 9]
train_cfg = dict(max_iters=max_iters, val_interval=12_000)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
