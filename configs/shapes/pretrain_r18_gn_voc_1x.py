"""PASCAL VOC in miniature: Faster R-CNN R18-FPN, GN, fine-tuned from the classifier of crops, 1x.

The scenes of pretrain_r18_gn_1x.py in VOC's layout, without masks, VOC mAP in place of COCO's AP.
Length: 300 iterations of 8 images.
Run: python tools/dataset_converters/make_shapes.py data/shapes --voc
     python tools/train.py configs/shapes/classifier_r18_gn.py
     python tools/train.py configs/shapes/pretrain_r18_gn_voc_1x.py
"""

_base_ = [
    '../_base_/models/faster_rcnn_r18_fpn_gn_shapes.py',
    '../_base_/datasets/shapes_voc.py',
    '../_base_/schedules/shapes_1x.py',
    '../_base_/shapes_runtime.py',
]
