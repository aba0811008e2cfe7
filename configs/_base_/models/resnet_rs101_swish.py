"""ResNet-RS-101 with swish as TF Vision has it, the backbone of the two-stage detectors of study C.

Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484): the released configs set swish for the whole model, and
start from TF Vision's `imagenet_resnetrs101_i192`. Its checkpoint is converted by
tools/model_converters/resnet_rs.py into the file named below (docs/frozen.md).
"""

_base_ = './resnet_rs101.py'

resnet_rs101_swish = dict(
    _base_.resnet_rs101,
    act_layer='silu',
    tf_vision=True,
    norm_cfg=dict(type='SyncBN', momentum=0.003, eps=1e-4),
    init_cfg=dict(_base_.resnet_rs101.init_cfg, checkpoint='data/weights/resnet_rs101_i192.pth'),
)
