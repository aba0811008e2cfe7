"""Study A's VGG-16 in miniature: Faster R-CNN without normalisation, from random weights (MSRA), 6x (docs/vgg.md).

Length: 1800 iterations of 8 images.
Run: python tools/train.py configs/shapes/scratch_vgg16_6x.py
"""

_base_ = [
    '../_base_/models/faster_rcnn_vgg16_shapes.py',
    '../_base_/datasets/shapes_instance.py',
    '../_base_/schedules/shapes_6x.py',
    '../_base_/shapes_runtime.py',
]

val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
