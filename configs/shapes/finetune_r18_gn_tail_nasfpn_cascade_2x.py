"""Study C in miniature: Cascade R-CNN R18-NAS-FPN, GN, on a long tail of shapes, fine-tuned from crops, 2x.

Length: 600 iterations of 8 images.
Data: python tools/dataset_converters/make_shapes.py data/shapes --tail
Run: python tools/train.py configs/shapes/classifier_r18_gn_tail.py
     python tools/train.py configs/shapes/finetune_r18_gn_tail_nasfpn_cascade_2x.py
"""

_base_ = [
    '../_base_/models/faster_rcnn_r18_nasfpn_cascade_gn_tail_shapes.py',
    '../_base_/datasets/shapes_tail.py',
    '../_base_/schedules/shapes_2x.py',
    '../_base_/shapes_runtime.py',
]
