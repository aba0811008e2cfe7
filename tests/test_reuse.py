"""Another repository, outside this one, with a freshly built wheel: it finds our configs, builds on them and trains.

``make test-classic`` runs these tests with the original OpenMMLab packages as well.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rethink
import torch
import torchvision
from conftest import ROOT
from mmengine.config import Config
from rethink.analysis.logs import read_run


@pytest.fixture
def stranger(wheel, tmp_path):
    """Runs a command in a folder of someone who has installed the wheel; what it printed, if it succeeded."""

    def run(*command) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, 'PYTHONPATH': str(wheel), 'CUDA_VISIBLE_DEVICES': ''},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout

    return run


def stock_tool(package: str) -> Path:
    """``tools/train.py`` as MMDetection or MMPretrain ship it."""
    return Path(importlib.util.find_spec(package).origin).parent / '.mim' / 'tools' / 'train.py'


def test_every_config_of_the_wheel_loads(wheel, stranger, tmp_path):
    (tmp_path / 'load.py').write_text(
        'import sys, rethink\n'
        'from pathlib import Path\n'
        'from mmengine.config import Config\n'
        'root = Path(rethink.__file__).parent / ".mim" / "configs"\n'
        'for path in sorted(root.rglob("*.py")):\n'
        '    print("loaded", path.relative_to(root), bool(Config.fromfile(path)))\n'
        'print(rethink.__file__)\n'
    )
    printed = stranger('load.py')
    configs = {str(path.relative_to(ROOT / 'configs')) for path in (ROOT / 'configs').rglob('*.py')}
    assert set(re.findall(r'^loaded (\S+) True$', printed, re.M)) == configs
    assert printed.splitlines()[-1] == f'{wheel}/rethink/__init__.py'


NAME, EXPRESSION = "'rethink::rethink/{0}'", "__import__('rethink').config_path('rethink/{0}')"


@pytest.mark.parametrize('base', [NAME, EXPRESSION, f'[{NAME}]'])
def test_a_config_builds_on_one_of_the_wheel(wheel, stranger, tmp_path, base):
    (tmp_path / 'mine.py').write_text(
        f'_base_ = {base.format("scratch_r50_gn_6x.py")}\nmax_iters = 7\nmodel = dict(backbone=dict(depth=101))\n'
    )
    (tmp_path / 'read.py').write_text(
        'import rethink\nfrom mmengine.config import Config\nc = Config.fromfile("mine.py")\n'
        'print(rethink.__file__, c.max_iters, c.model.backbone, "_scope_" in str(c))'
    )
    line = stranger('read.py').splitlines()[-1]
    assert line.startswith(f'{wheel}/rethink/__init__.py 7 ')
    assert "'depth': 101" in line and "'frozen_stages': -1" in line and line.endswith('False')


def test_names_of_the_wheel_in_the_hub_of_mmengine(stranger, tmp_path):
    (tmp_path / 'read.py').write_text(
        'import rethink\nfrom mmengine.hub import get_config\n'
        'print(get_config("rethink::rethink/scratch_r50_gn_6x.py").param_scheduler[1].milestones)'
    )
    assert stranger('read.py').splitlines()[-1] == '[480000, 520000]'


def test_a_name_that_is_not_there(tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'rethink::rethink/scratch_r50_7x.py'\n")
    with pytest.raises(FileNotFoundError, match=r"no config 'rethink/scratch_r50_7x\.py' in .*; name one by its path"):
        Config.fromfile(tmp_path / 'mine.py')


def test_names_of_the_checkout_and_of_other_packages(tmp_path):
    assert rethink.config_path('rethink/scratch_r50_gn_6x.py') == str(ROOT / 'configs/rethink/scratch_r50_gn_6x.py')
    (tmp_path / 'mine.py').write_text("_base_ = 'rethink::rethink/scratch_r50_gn_6x.py'\n")
    own = Config.fromfile(ROOT / 'configs/rethink/scratch_r50_gn_6x.py')
    assert Config.fromfile(tmp_path / 'mine.py').to_dict() == own.to_dict()
    (tmp_path / 'other.py').write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    assert Config.fromfile(tmp_path / 'other.py').default_scope == 'mmdet'


# --- training with the tools of others -------------------------------------------------------------------------------

DETECTION = """
_base_ = __import__('rethink').config_path('{base}')
metainfo = dict(classes=('ellipse', 'rectangle', 'triangle', 'star', 'cross'))
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask={masks})]
small = dict(type='Resize', scale=(128, 128), keep_ratio=True)
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
pack = dict(type='PackDetInputs', meta_keys=keys)
train = dict(data_root='data/detection/', metainfo=metainfo, pipeline=[*load, small, pack])
val = dict(data_root='data/detection/', metainfo=metainfo, pipeline=[load[0], small, load[1], pack], indices=2)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=train)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=val)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/detection/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
# Of detectors that are hardly trained only boxes of any score give a result, and a few are enough.
model = dict(
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))), test_cfg=dict(rcnn=dict(score_thr=-1.0, max_per_img=5)))
"""
SCRATCH = """
model.update(roi_head=dict(bbox_head=dict(num_classes=5), mask_head=dict(num_classes=5)))
"""
FROZEN = """
model.update(
    backbone=dict(init_cfg=dict(checkpoint='resnet50.pth')), roi_head=dict(bbox_head=dict(num_classes=5)),
    data_preprocessor=dict(pad_size_divisor=32))
"""
MOCO = """
_base_ = __import__('rethink').config_path('hpt/pretrain_moco_r50_5ki.py')
model = dict(queue_len=16)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(
    data_root='data/classification/', ann_file='', data_prefix='train'))
custom_hooks = [dict(type='InitFromBaseHook', checkpoint='resnet50.pth'), dict(type='ExportBackboneHook')]
train_cfg = dict(max_iters=2)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""


@pytest.fixture
def repository(wheel, stranger, tmp_path):
    """Data of one's own, in COCO's layout and as folders of crops, and the weights of a classifier."""
    tool = wheel / 'rethink' / '.mim' / 'tools' / 'dataset_converters' / 'make_shapes.py'
    stranger(tool, 'data', '--train', 8, '--val', 4, '--crop-train', 20, '--crop-val', 5)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / 'resnet50.pth')
    return tmp_path


def test_a_detector_from_scratch_and_a_frozen_one_with_mmdetections_own_tool(repository, stranger):
    """The tool imports MMDetection before the config brings rethink; mmcv's ops are there in time all the same."""
    texts = dict(
        scratch=DETECTION.format(base='rethink/scratch_r50_gn_6x.py', masks=True) + SCRATCH,
        frozen=DETECTION.format(base='frozen/freeze_r50_fpn_72e.py', masks=False) + FROZEN,
    )
    for name, text in texts.items():
        (repository / f'{name}.py').write_text(text)
        stranger(stock_tool('mmdet'), f'{name}.py', '--work-dir', name)
        log = read_run(repository / name)
        assert set(log.train) == {1, 2} and 'coco/bbox_mAP' in log.val[2], name
        assert all(0 < entry['loss'] < 100 for entry in log.train.values())
    weights = torch.load(repository / 'frozen' / 'iter_2.pth', weights_only=False)['state_dict']
    classifier = torch.load(repository / 'resnet50.pth')
    shared = [key for key in classifier if not key.startswith('fc.')]
    assert all(torch.equal(weights[f'backbone.{key}'], classifier[key]) for key in shared)


def test_self_supervised_pretraining_with_mmpretrains_own_tool(repository, stranger):
    (repository / 'moco.py').write_text(MOCO)
    stranger(stock_tool('mmpretrain'), 'moco.py', '--work-dir', 'moco')
    assert set(read_run(repository / 'moco').train) == {1, 2}
    exported = torch.load(repository / 'moco' / 'backbone.pth', weights_only=False)['state_dict']
    assert exported['backbone.layer4.2.conv3.weight'].shape == (2048, 512, 1, 1)


def test_a_flat_file_trains_where_the_configs_are_not(wheel, repository, stranger):
    tool = wheel / 'rethink' / '.mim' / 'tools' / 'misc' / 'export_config.py'
    (repository / 'mine.py').write_text(DETECTION.format(base='rethink/scratch_r50_gn_6x.py', masks=True) + SCRATCH)
    stranger(tool, 'mine.py', 'flat.py')
    (repository / 'mine.py').unlink()
    text = (repository / 'flat.py').read_text()
    assert '_base_ =' not in text and 'config_path' not in text
    assert 'rethink/scratch_r50_gn_6x.py' in text.split('"""')[1]
    stranger(stock_tool('mmdet'), 'flat.py', '--work-dir', 'flat')
    assert 'coco/segm_mAP' in read_run(repository / 'flat').val[2]
