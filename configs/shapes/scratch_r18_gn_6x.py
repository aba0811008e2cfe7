_base_ = './pretrain_r18_gn_6x.py'

# Nothing to keep: random weights are never frozen.
model = dict(backbone=dict(frozen_stages=-1, init_cfg=None))
