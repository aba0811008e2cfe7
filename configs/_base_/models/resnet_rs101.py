"""ResNet-RS-101 (https://arxiv.org/abs/2103.07579) of timm, with ImageNet's weights, as a detector's backbone.

Squeeze-and-excitation 0.25, a stem of three convolutions, average pooling in the shortcuts, no max-pooling: what the
released configs of Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484) call their ResNet-101.
"""

rs101_weights = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-rs-weights/'
    'resnetrs101_i192_ema-1509bbf6.pth'
)
resnet_rs101 = dict(
    _delete_=True,
    type='mmpretrain.TIMMBackbone',
    model_name='resnetrs101',
    features_only=True,
    out_indices=(1, 2, 3, 4),
    norm_layer='SyncBN',
    # All but the classifier.
    init_cfg=dict(
        type='RenamedPretrained',
        checkpoint=rs101_weights,
        names={
            name: f'timm_model.{name}' for name in ('conv1', 'bn1', 'maxpool', 'layer1', 'layer2', 'layer3', 'layer4')
        },
    ),
)
