"""Variables that nothing reads: each mistake beside what looks like it and is right."""

import pytest
from checked import MMDET
from mmengine.config import Config
from rethink import checks

BASE = """
default_scope = 'mmdet'
data_root = 'data/coco/'
image_size = (64, 64)
classes = ('cat', 'dog')
max_iters = 90
lr = 0.02
interval = 10
train_pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=image_size), dict(type='PackDetInputs')]
train_set = dict(type='CocoDataset', data_root=data_root, ann_file=data_root + 'a.json', pipeline=train_pipeline,
                 metainfo=dict(classes=classes))
train_dataloader = dict(batch_size=2, sampler=dict(type='InfiniteSampler'), dataset=train_set)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=interval)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr))
param_scheduler = [dict(type='MultiStepLR', by_epoch=False, end=max_iters, milestones=[max_iters - 20])]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=interval))
model = dict(type='FasterRCNN', backbone=dict(type='Other', depth=10))
"""
PIPELINE = "train_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]\n"
# What a config says on top of the base, the name that is found, its level, and what the fix has.
WRONG = {
    'pipeline': (PIPELINE, 'train_pipeline', 'error', 'set train_dataloader = dict(dataset=dict(pipeline=train_pi'),
    'data root': ("data_root = 'data/mine/'", 'data_root', 'error', 'train_dataloader'),
    'length': ('max_iters = 180', 'max_iters', 'error', 'train_cfg = dict(max_iters=max_iters)'),
    'rate': ('lr = 0.01', 'lr', 'error', 'optim_wrapper = dict(optimizer=dict(lr=lr))'),
    'classes': ("classes = ('bird',)", 'classes', 'error', 'metainfo'),
    'inside a list': ('image_size = (128, 128)', 'image_size', 'error', 'train_dataloader.dataset.pipeline.1.scale'),
    'in place': ('_base_.train_pipeline[1].scale = (99, 99)', 'train_pipeline', 'error', 'pipeline=train_pipeline'),
    'helper of a helper': ("train_set = dict(ann_file='b.json')", 'train_set', 'error', 'train_dataloader'),
    'used by what is unused': (
        "image_size = (32, 32)\ntrain_pipeline = [dict(type='Resize', scale=image_size)]",
        'train_pipeline',
        'error',
        'train_dataloader',
    ),
    'one of two uses': ("max_iters = 180\nparam_scheduler = []", 'max_iters', 'error', 'train_cfg'),
    'too late': (f'train_dataloader = dict(batch_size=4)\n{PIPELINE}', 'train_pipeline', 'error', 'train_dataloader'),
    'misspelt': ('train_dataloder = dict(batch_size=4)', 'train_dataloder', 'error', 'rename it to train_dataloader'),
    'misspelt hook': ("custom_hook = [dict(type='EMAHook')]", 'custom_hook', 'error', 'custom_hooks'),
    'misspelt weights': ("load_form = 'x.pth'", 'load_form', 'error', 'load_from'),
    'of MMDetection 2': ("optimizer = dict(type='SGD', lr=0.1)", 'optimizer', 'warning', 'optim_wrapper.optimizer'),
    'of MMDetection 2, short': ('total_epochs = 12', 'total_epochs', 'warning', 'train_cfg.max_epochs'),
    'a place above its own': ('clip_grad = dict(max_norm=35)', 'clip_grad', 'error', 'set optim_wrapper.clip_grad'),
    'a number that stands elsewhere': ('batch_size = 90', 'batch_size', 'error', 'train_dataloader.batch_size'),
    'of a data set': ("metainfo = dict(classes=('a',))", 'metainfo', 'error', 'dataset.metainfo'),
    'left over': ('my_scale = 777', 'my_scale', 'note', 'leave it out'),
}  # fmt: skip
RIGHT = {
    'nothing': '',
    'used': f'{PIPELINE}train_dataloader = dict(dataset=dict(pipeline=train_pipeline))',
    'used by way of another': f'{PIPELINE}mine = dict(pipeline=train_pipeline)\ntrain_dataloader = dict(dataset=mine)',
    'parts of it': 'train_pipeline = [*_base_.train_pipeline[:1]]\n'
    'train_dataloader = dict(dataset=dict(pipeline=[*train_pipeline, dict(type="PackDetInputs")]))',
    'written out': 'max_iters = 180\ntrain_cfg = dict(max_iters=180)',
    'written out, as a list': "classes = ('bird',)\n"
    "train_dataloader = dict(dataset=dict(metainfo=dict(classes=['bird'])))",
    'as it was': 'max_iters = 90\ninterval = 10',
    'places set by hand': 'interval = 5\ntrain_cfg = dict(val_interval=1)\n'
    'default_hooks = dict(checkpoint=dict(interval=1))',
    'written out, at its place': 'batch_size = 4\ntrain_dataloader = dict(batch_size=4)',
    'sums': 'max_iters = 180\ntrain_cfg = dict(max_iters=2 * max_iters)',
    'text': "data_root = 'data/mine/'\ntrain_dataloader = dict(dataset=dict(data_root=f'{data_root}x/'))",
    'comprehension': 'sizes = [32, 64]\ntrain_pipeline = [dict(type="Resize", scale=(one, one)) for one in sizes]\n'
    'train_dataloader = dict(dataset=dict(pipeline=train_pipeline))',
    'in place, and used': '_base_.train_pipeline[1].scale = (99, 99)\n'
    'train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))',
    'a setting in place': '_base_.train_dataloader.dataset.pipeline[1].scale = (99, 99)',
    'condition': 'big = True\nif big:\n    model = dict(backbone=dict(depth=101))',
    'function': 'depth = 7\ndef deep():\n    return depth\nmodel = dict(backbone=dict(depth=deep()))',
    'template': "data_root = '{{fileDirname}}/x/'\ntrain_dataloader = dict(dataset=dict(data_root=data_root))\n"
    'train_pipeline = {{_base_.train_pipeline}}',
    'evaluation at test': "tta_model = dict(type='DetTTAModel')\ntta_pipeline = []",
    'private': '_mine = 5',
    'unpacked': 'load, (*rest,) = _base_.train_pipeline[0], _base_.train_pipeline[1:]\n'
    'train_dataloader = dict(dataset=dict(pipeline=[load, *rest]))',
}  # fmt: skip


def found(folder, text: str, options: dict | None = None) -> list[checks.Finding]:
    (folder / 'base.py').write_text(BASE)
    (folder / 'child.py').write_text(f"_base_ = 'base.py'\n{text}\n")
    cfg = Config.fromfile(str(folder / 'child.py'))
    cfg.merge_from_dict(options or {})
    return list(checks.RULES['unused-variable'][0](checks.Facts(cfg)))


@pytest.mark.parametrize('case', WRONG)
def test_what_nothing_reads(case, tmp_path):
    text, name, level, fix = WRONG[case]
    (one,) = [one for one in found(tmp_path, text) if one.where == name]
    assert one.level == level and one.what.endswith('.') and fix in one.fix
    assert f'{tmp_path / "child.py"}:' in one.what


@pytest.mark.parametrize('case', RIGHT)
def test_what_is_right(case, tmp_path):
    assert found(tmp_path, RIGHT[case]) == []


def test_a_file_in_between_may_be_the_one_that_uses_it(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    (tmp_path / 'middle.py').write_text(f"_base_ = 'base.py'\n{PIPELINE}")
    (tmp_path / 'child.py').write_text(
        "_base_ = 'middle.py'\ntrain_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))\n"
    )
    rule = checks.RULES['unused-variable'][0]
    assert not list(rule(checks.Facts(Config.fromfile(str(tmp_path / 'child.py')))))
    (one,) = rule(checks.Facts(Config.fromfile(str(tmp_path / 'middle.py'))))
    assert one.where == 'train_pipeline'


def test_a_variable_on_the_command_line(tmp_path):
    (one,) = found(tmp_path, '', {'max_iters': 5})
    assert one.level == 'error' and 'which the command line sets' in one.what and 'train_cfg.max_iters' in one.what
    assert not found(tmp_path, '', {'max_iters': 5, 'train_cfg.max_iters': 5})
    (one,) = found(tmp_path, '', {'max_iter': 5})
    assert one.level == 'note' and one.where == 'max_iter'
    assert not found(tmp_path, '', {'train_cfg.max_iters': 5})


def test_a_config_that_was_dumped_has_values_alone(tmp_path):
    found(tmp_path, 'my_scale = 777')
    Config.fromfile(str(tmp_path / 'child.py')).dump(str(tmp_path / 'dumped.py'))
    assert not list(checks.RULES['unused-variable'][0](checks.Facts(Config.fromfile(str(tmp_path / 'dumped.py')))))


def test_configs_that_import_their_bases(tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    start = 'from mmengine.config import read_base\nwith read_base():\n    from .base import *\n'
    rule = checks.RULES['unused-variable'][0]
    (tmp_path / 'child.py').write_text(start + PIPELINE)
    (one,) = rule(checks.Facts(Config.fromfile(str(tmp_path / 'child.py'))))
    assert one.where == 'train_pipeline' and one.level == 'error'
    (tmp_path / 'child.py').write_text(
        f'{start}{PIPELINE}train_dataloader["dataset"].update(dict(pipeline=train_pipeline))'
    )
    assert not list(rule(checks.Facts(Config.fromfile(str(tmp_path / 'child.py')))))


def test_what_mmdetection_ships():
    """A config of 90,000 iterations whose base has copied 270,000 into its loop."""
    path = MMDET / 'simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-90k_coco.py'
    cfg = Config.fromfile(str(path))
    assert cfg.max_iters == 90_000 and cfg.train_cfg.max_iters == 270_000
    (one,) = checks.RULES['unused-variable'][0](checks.Facts(cfg))
    assert one.level == 'error' and one.where == 'max_iters' and '_coco.py:4 sets' in one.what
