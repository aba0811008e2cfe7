"""Cascade R-CNN R101-NAS-FPN, from random weights, 72 epochs.

Proper Reuse of Image Classification Features Improves Object Detection; large-scale jitter at 1280 x 1280.
Published: without a number in the notes here (docs/frozen.md); not trained by us.
Length: 133,056 iterations of 64 images = 8.52 M images, 72 epochs of train2017.
Run: bash tools/dist_train.sh configs/frozen/scratch_r101_nasfpn_cascade_72e.py 8
"""

_base_ = './finetune_r101_nasfpn_cascade_72e.py'

model = dict(backbone=dict(init_cfg=None))
