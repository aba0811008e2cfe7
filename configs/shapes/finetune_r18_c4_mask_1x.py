"""Detection of study B in miniature: Mask R-CNN R18-C4, SyncBN, from a backbone of MoCo's hierarchy, 1x.

HPT_BASE names the backbone, by default that of Base+Target. In one process SyncBN is BN over the 8 images.
Length: 300 iterations of 8 images.
Run: python tools/train.py configs/shapes/base_moco_r18.py
     python tools/train.py configs/shapes/pretrain_moco_r18.py
     python tools/train.py configs/shapes/finetune_r18_c4_mask_1x.py
"""

_base_ = [
    '../_base_/models/mask_rcnn_r18_c4_shapes.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_1x.py',
    '../_base_/shapes_runtime.py',
]

base = '{{$HPT_BASE:work_dirs/pretrain_moco_r18/backbone.pth}}'
custom_hooks = [
    dict(type='InitFromBaseHook', checkpoint=base),
    dict(type='ReestimateBNHook', num_images=200, interval='val'),
]
