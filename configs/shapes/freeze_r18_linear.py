"""Linear evaluation of study B in miniature (`make demo STUDY=hpt`): crops of the target as they are, 300 iterations.

Without augmentation, features are computed once. Validation alone, by which nothing is chosen.
Data: python tools/dataset_converters/make_shapes.py data/shapes --domains
Weights: HPT_BASE, by default the backbone of base_moco_r18.py; BN has the statistics of that file.
Length: 300 iterations of 100 images.
Run: python tools/train.py configs/shapes/freeze_r18_linear.py
"""

_base_ = './freeze_r18_bn_linear_300i.py'

work_dir = 'work_dirs/{{ fileBasenameNoExtension }}'

# BN before the linear layer, as LeViT's head has it: 300 iterations are too few for features that differ in mean and
# scale (docs/shapes.md).
model = dict(head=dict(type='LeViTClsHead', distillation=False))
optim_wrapper = dict(optimizer=dict(lr=0.1))

crops = dict(
    _delete_=True,
    type='CustomDataset',
    data_root='data/shapes/target/',
    classes=('ellipse', 'rectangle', 'triangle', 'star', 'cross'),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
)
train_dataloader = dict(batch_size=100, dataset=dict(crops, data_prefix='train'))
val_dataloader = dict(batch_size=100, dataset=dict(crops, data_prefix='val'))
test_dataloader = val_dataloader
val_cfg = dict(type='ValLoop')
train_cfg = dict(val_interval=100)
auto_scale_lr = dict(base_batch_size=100)
