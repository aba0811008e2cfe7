"""Cascade Mask R-CNN R50-FPN, GN, scale augmentation, from random weights, 9x.

Rethinking ImageNet Pre-training, section 5.1. Mask R-CNN up to iteration 540k, then three stages and a mask head on
the last for the final 270k; the command runs both, and with --resume goes on in either (docs/cascade.md).
Published: a point of figure 5, without a number in the text; with --tta, 41.6 mask AP; not trained by us.
Length: 810k iterations of 16 images = 12.96 M images, 110 epochs of train2017.
Run: bash tools/dist_train.sh configs/rethink/scratch_r50_gn_aug_cascade_9x.py 8
"""

_base_ = [
    '../_base_/models/cascade_mask_rcnn_r50_fpn_gn.py',
    '../_base_/datasets/coco_instance_aug.py',
    '../_base_/schedules/schedule_9x.py',
    '../_base_/default_runtime.py',
]

# Nothing to keep: random weights are never frozen.
model = dict(backbone=_base_.from_scratch)
switch_from = dict(config='{{ fileDirname }}/scratch_r50_gn_aug_9x.py', iteration=_base_.max_iters - 3 * 90_000)
# Tools that know nothing of the switch stop here.
default_hooks = dict(switch=dict(type='SwitchHook'))
