"""ResNet-RS-101 (https://arxiv.org/abs/2103.07579) of timm, ReLU and ImageNet's weights: RetinaNet's backbone.

Squeeze-and-excitation 0.25, a stem of three convolutions, average pooling in the shortcuts, no max-pooling: what the
released configs of Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484) call their ResNet-101. The weights are
those of another training than theirs, that of https://github.com/tensorflow/tpu (models/official/resnet/resnet_rs).
"""

rs101_weights = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-rs-weights/'
    'resnetrs101_i192_ema-1509bbf6.pth'
)
resnet_rs101 = dict(
    _delete_=True,
    type='ResNetRS',
    model_name='resnetrs101',
    # eps is that of the weights, 1e-5.
    norm_cfg=dict(type='BN', momentum=0.01),
    # All but the classifier.
    init_cfg=dict(
        type='RenamedPretrained',
        checkpoint=rs101_weights,
        names={
            name: f'timm_model.{name}' for name in ('conv1', 'bn1', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
        },
    ),
)
