"""Faster R-CNN R101-FPN, GN, scale augmentation, PASCAL VOC, fine-tuned from ImageNet, 18k iterations.

Rethinking ImageNet Pre-training, section 5.2.
Published: 82.7 VOC mAP, val2012; not trained by us.
Ours: batch size, learning rate and range of scales as on COCO (the paper gives none for VOC), drops at 2/3 and 8/9.
Length: 18k iterations of 16 images = 0.29 M images, 27 epochs of the 10,728 images of trainval2007 + train2012; the
paper says 15k images of the same sets (docs/data.md).
Run: bash tools/dist_train.sh configs/rethink/pretrain_r101_gn_voc_18ki.py 8
"""

_base_ = [
    '../_base_/models/faster_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/voc_detection_aug.py',
    '../_base_/schedules/schedule_2x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(depth=101, init_cfg=dict(checkpoint='open-mmlab://detectron/resnet101_gn')),
    roi_head=dict(bbox_head=dict(num_classes=20)),
    # What is ignored in VOC are difficult objects and no crowds: to Detectron they are background.
    train_cfg=dict(rcnn=dict(assigner=dict(ignore_iof_thr=-1))),
)
max_iters = 18_000
milestones = [max_iters * 2 // 3, max_iters * 8 // 9]
train_cfg = dict(max_iters=max_iters, val_interval=3_000)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters, milestones=milestones),
]
default_hooks = dict(checkpoint=dict(interval=3_000))
