"""As faster_rcnn_r50_fpn_swish.py with a NAS-FPN (https://arxiv.org/abs/1904.07392), 5 repeats of 256 channels."""

_base_ = './faster_rcnn_r50_fpn_swish.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='WithSwish',
        of='NASFPN',
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        num_outs=5,
        start_level=1,
        stack_times=5,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
    ),
)
