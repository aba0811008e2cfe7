"""Study C in miniature: Cascade R-CNN R18-NAS-FPN, GN, on a long tail of shapes, the classifier's backbone frozen, 2x.

Length: 600 iterations of 8 images.
Run: python tools/train.py configs/shapes/classifier_r18_gn_tail.py
     python tools/train.py configs/shapes/freeze_r18_gn_tail_nasfpn_cascade_2x.py
"""

_base_ = './finetune_r18_gn_tail_nasfpn_cascade_2x.py'

model = dict(backbone=dict(type='FrozenBackbone', of='ResNet'))
