"""Domain adaptation with a ResNet: MME ResNet-34 from DomainNet real to a target with few labels.

Saito et al., ICCV 2019, and their code, which puts a linear layer to 512 channels before the cosine classifier of a
ResNet (Predictor_deep). It is on the side of the features: the gradient of the entropy is reversed behind it. All else
is as in pretrain_mme_b2_domainnet_50ki.py.
Published: 7 budgets of target labels, without a number here; not trained by us.
Weights: HPT_BASE names the backbone, by default torchvision's checkpoints/resnet34-b627a593.pth.
Length: 50k iterations of 96 images = 4.80 M images (24 of the source, 24 and 48 of the target).
Run: python tools/train.py configs/hpt/pretrain_mme_r34_domainnet_50ki.py
"""

_base_ = './pretrain_mme_b2_domainnet_50ki.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/real_{{$HPT_TARGET:clipart}}'
base = '{{$HPT_BASE:checkpoints/resnet34-b627a593.pth}}'

model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=34),
    neck=dict(
        _delete_=True,
        type='LinearNeck',
        in_channels=512,
        out_channels=512,
        gap_dim=2,
        norm_cfg=None,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='normal'),
    ),
    head=dict(in_channels=512),
)
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base)]
