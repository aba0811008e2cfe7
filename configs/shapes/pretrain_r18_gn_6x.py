"""Study A in miniature: Mask R-CNN R18-FPN, GN, fine-tuned from the classifier of crops, 6x (docs/shapes.md).

Length: 1800 iterations of 8 images.
Run: python tools/train.py configs/shapes/classifier_r18_gn.py
     python tools/train.py configs/shapes/pretrain_r18_gn_6x.py
"""

_base_ = [
    '../_base_/models/mask_rcnn_r18_fpn_gn_shapes.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_6x.py',
    '../_base_/shapes_runtime.py',
]
