"""MoCo v2 of any backbone on a few images of one's own: moco_r50.py without its backbone.

What inherits from it adds the backbone and its channels, pixels, queue and momentum; `tools/study.py new --hpt`
writes such a file (docs/your_data.md). BN, where there is any, is by quarters of the batch (WithSplitBN), which in one
process does what four do.
"""

_base_ = './moco_r50.py'

model = dict(
    backbone=dict(_delete_=True, type='WithSplitBN', groups=4),
    neck=dict(hid_channels=512),
)
