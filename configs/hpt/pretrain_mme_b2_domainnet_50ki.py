"""Domain adaptation: MME EfficientNet-B2 from DomainNet real to a target with few labels, beginning with HPT.

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4; minimax entropy:
Saito et al., ICCV 2019. All labels of real, so many for each class of the target (the first ones of a seeded order,
so that budgets are nested), and the target's training images without labels. The target is clipart, or
HPT_TARGET=sketch. What is evaluated, once and at the end, is the whole test set of the target.
Published: 7 budgets of target labels, without a number here; not trained by us. Temperature 0.05 and λ 0.1 are of
Saito et al.; batch, crops, length and first learning rates those of their code.
Ours: the budgets, 1 to 64 labels for each class, as overrides of `per_class` (docs/hpt.md); a cosine to 0, where their
rate falls by an inverse power; ImageNet's mean and std.
Weights: those of pretrain_moco_b2_domainnet_5ki.py; others with `--cfg-options custom_hooks.0.checkpoint=…`.
Length: 50k iterations of 96 images = 4.80 M images (24 of the source, 24 and 48 of the target).
Run: python tools/train.py configs/hpt/pretrain_mme_b2_domainnet_50ki.py
"""

_base_ = [
    '../_base_/datasets/hpt_domainnet_{{$HPT_TARGET:clipart}}.py',
    '../_base_/default_runtime.py',
]

default_scope = 'mmpretrain'
work_dir = 'work_dirs/{{ fileBasenameNoExtension }}/real_{{$HPT_TARGET:clipart}}'
base = 'work_dirs/pretrain_moco_b2_domainnet_5ki/real_{{$HPT_TARGET:clipart}}/backbone.pth'

model = dict(
    type='MME',
    entropy_weight=0.1,
    data_preprocessor=dict(
        type='PartlyLabelledDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(type='EfficientNet', arch='b2'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='CosineClsHead',
        num_classes=_base_.num_classes,
        in_channels=1408,
        temperature=0.05,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='normal'),
        loss=dict(type='CrossEntropyLoss'),
    ),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=224),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

source_root = 'data/domainnet/real/'
source = dict(
    _base_.train_set,
    data_root=source_root,
    classes=source_root + 'splits/classes.txt',
    pipeline=train_pipeline,
)
target = dict(_base_.train_set, type='FewLabelsDataset', per_class=1, pipeline=train_pipeline)
# The names of the classes are compared between the parts.
unlabelled_target = dict(_base_.unlabelled_set, classes=_base_.train_set.classes, pipeline=train_pipeline)
batch_size = 96
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='mmdet.MultiSourceSampler', batch_size=batch_size, source_ratio=[1, 1, 2]),
    dataset=dict(type='ConcatDataset', datasets=[source, target, unlabelled_target]),
)
val_dataloader = dict(
    batch_size=96,
    num_workers=8,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(_base_.test_set, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator

max_iters = 50_000
train_cfg = dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=max_iters, eta_min=0.0)]
auto_scale_lr = dict(enable=False, base_batch_size=batch_size)

default_hooks = dict(
    checkpoint=dict(interval=5_000),
    visualization=dict(_delete_=True, type='VisualizationHook', enable=False),
)
visualizer = dict(_delete_=True, type='UniversalVisualizer')
custom_hooks = [dict(type='InitFromBaseHook', checkpoint=base)]
