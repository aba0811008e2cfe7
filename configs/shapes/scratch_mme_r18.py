"""Study B in miniature, domain adaptation: MME R18 from crops to the same crops in two levels of each colour.

All labels of the crops as they are, 4 of each class of the others (`per_class`), and these without labels.
Length: 300 iterations of 64 crops (16 of the source, 16 and 32 of the target).
Run: python tools/train.py configs/shapes/scratch_mme_r18.py
"""

_base_ = './classifier_r18_gn.py'

model = dict(
    type='MME',
    data_preprocessor=dict(type='PartlyLabelledDataPreprocessor'),
    head=dict(type='CosineClsHead'),
)

appearance = dict(type='Posterize', bits=1, prob=1.0)
load, *rest = _base_.train_pipeline
source = _base_.train_dataloader.dataset
target = dict(source, pipeline=[load, appearance, *rest])
train_dataloader = dict(
    sampler=dict(_delete_=True, type='mmdet.MultiSourceSampler', batch_size=64, source_ratio=[1, 1, 2]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[source, dict(target, type='FewLabelsDataset', per_class=4), dict(target, with_label=False)],
    ),
)
load, *rest = _base_.test_pipeline
val_dataloader = dict(dataset=dict(pipeline=[load, appearance, *rest]))
test_dataloader = val_dataloader

max_iters = 300
train_cfg = dict(max_iters=max_iters, val_interval=100)
param_scheduler = [dict(_base_.param_scheduler[0], end=max_iters, T_max=max_iters)]
