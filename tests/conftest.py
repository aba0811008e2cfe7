"""A detection data set of a few small images and a detector that trains on it in seconds, for tests of whole runs."""

import gc
import json
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rethink  # noqa: F401  (first: gives mmcv its ops, which mmdet imports)
from config_folders import keep_in_memory
from mmdet.visualization import DetLocalVisualizer
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from PIL import Image
from warm_python import warm_python

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ('square', 'bar')

keep_in_memory()


def write_coco(folder: Path, images: int = 12, classes=CLASSES, size: int = 64) -> Path:
    """Write ``images`` pictures, wide and tall by turns, with a rectangle of each class, as COCO JSON; the folder."""
    random = np.random.default_rng(0)
    (folder / 'images').mkdir(parents=True, exist_ok=True)
    records, annotations = [], []
    for index in range(images):
        width, height = (size, size * 3 // 4) if index % 2 else (size * 3 // 4, size)
        picture = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
        for category in range(len(classes)):
            w, h = ((20, 20), (10, 30))[category % 2]
            x, y = int(random.integers(0, width - w)), int(random.integers(0, height - h))
            picture[y : y + h, x : x + w] = (255, 40, 0) if category % 2 else (0, 40, 255)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=index,
                    category_id=category + 1,
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                )
            )
        name = f'{index:03d}.png'
        Image.fromarray(picture).save(folder / 'images' / name)
        records.append(dict(id=index, file_name=name, width=width, height=height))
    categories = [dict(id=index + 1, name=name) for index, name in enumerate(classes)]
    content = dict(images=records, annotations=annotations, categories=categories)
    (folder / 'annotations.json').write_text(json.dumps(content))
    return folder


DETECTOR = """
classes = {classes!r}
norm_cfg = dict({norm})
default_scope = 'mmdet'
custom_imports = dict(imports=['rethink'])
model = dict(
    type='FCOS',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, norm_cfg=norm_cfg, norm_eval=False, frozen_stages=-1,
        stem_channels=8, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2)),
    neck=dict(type='FPN', in_channels=[16, 32], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='FCOSHead', num_classes={num_classes}, in_channels=16, feat_channels=16, stacked_convs=1, strides=[8, 16],
        regress_ranges=((-1, 32), (32, 1e8)), norm_cfg=norm_cfg),
    test_cfg=dict(nms_pre=100, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.6), max_per_img=10))
dataset = dict(
    type='CocoDataset', data_root='{data}/', ann_file='annotations.json', data_prefix=dict(img='images/'),
    metainfo=dict(classes=classes))
load = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(64, 64), keep_ratio=True)]
train_dataloader = dict(
    batch_size=2, num_workers={workers}, sampler=dict(type='InfiniteSampler'),
    batch_sampler=dict(type='AspectRatioBatchSampler'),
    dataset=dict(**dataset, pipeline=[*load, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False), drop_last=False,
    dataset=dict(**dataset, test_mode=True, pipeline=[*load, dict(type='PackDetInputs', meta_keys=(
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file='{data}/annotations.json', metric='bbox')
test_evaluator = val_evaluator
train_cfg = dict(type='ResumableTrainLoop', max_iters=8, val_interval=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=8, milestones=[6, 7])]
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=1),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=2, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'), visualization=dict(type='DetVisualizationHook'))
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))
log_processor = dict(type='LogProcessor', window_size=1, by_epoch=False)
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
randomness = dict(seed=3)
{more}
"""


def write_detector(file: Path, data: Path, more: str = '', **values) -> Path:
    """Write the config of a tiny FCOS (64 px images, 8 channels, 8 iterations of 2 images); the file.

    Args:
        more: lines to add at the end.
        values: ``norm`` (arguments of norm_cfg), ``workers``, ``num_classes`` and ``classes``.
    """
    values = dict(classes=CLASSES, norm="type='BN'", workers=0, num_classes=len(CLASSES)) | values
    file.write_text(DETECTOR.format(data=data, more=more, **values))
    return file


def run_tool(
    name: str, *arguments, cwd: Path = ROOT, cold: bool = False, **environment
) -> subprocess.CompletedProcess:
    """Run ``tools/<name>`` as a user does, from the repository or ``cwd``; stdout, stderr and exit code.

    In a Python that has imported everything (:mod:`warm_python`), and in one that begins where ``cold``.
    """
    python = str(sys.executable if cold else warm_python())
    command = [python] if name.endswith('.py') else ['bash']
    env = os.environ | dict(PYTHON=python, CUDA_VISIBLE_DEVICES='') | environment
    return subprocess.run(
        [*command, ROOT / 'tools' / name, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True
    )


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers():
    """For ``-n auto`` one more than there are cores: tests that wait for a process leave theirs idle."""
    workers = yield
    return workers if 'PYTEST_XDIST_AUTO_NUM_WORKERS' in os.environ else workers + 1


def pytest_collection_finish():
    """What the tests import stays, and is not looked through when MMEngine collects garbage, for each data set."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def variables():
    """What the code sets for the processes that it starts (``WORLD_SIZE``) would be read by the next test."""
    before = dict(os.environ)
    for name, logger in list(MMLogger._instance_dict.items()):
        for handler in logger.handlers[:]:
            # Of a training in this process, whose folder went with its test; another of the same second has its name.
            if isinstance(handler, logging.FileHandler) and not os.path.isdir(os.path.dirname(handler.baseFilename)):
                logger.removeHandler(handler)
                MMLogger._instance_dict.pop(name, None)
    yield
    # MMEngine keeps one of a name for a whole process, and this one writes where a test that is over had its files.
    for one in (Visualizer, *Visualizer.__subclasses__(), *DetLocalVisualizer.__subclasses__()):
        one._instance_dict.clear()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope='session')
def data(tmp_path_factory) -> Path:
    """A folder with ``annotations.json`` and ``images/``: 12 images of two classes."""
    return write_coco(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='session')
def wheel(tmp_path_factory) -> Path:
    """A folder into which the wheel is installed, of the files that git knows of; ``bin/rethink`` is its command."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    files = subprocess.run(['git', 'ls-files'], cwd=ROOT, text=True, capture_output=True, check=True).stdout.split(
        '\n'
    )
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob('rethink_detection-*.whl')
    install = ['install', '-q', '--no-deps', '--no-compile', '--target', str(folder / 'site'), str(built)]
    subprocess.run([sys.executable, '-m', 'pip', *install], check=True, capture_output=True)
    return folder / 'site'


@pytest.fixture
def run_in_process(monkeypatch, capsys):
    """Run a script of tools/ in this process: its exit code or message, and what it printed, errors if it failed."""

    own, leave = os.getpid(), os._exit

    def run(script: str, *arguments):
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        # What a tool starts is warm.
        monkeypatch.setattr(sys, 'executable', str(warm_python()))
        # A tool that ends itself does not end the tests; the workers of its data loaders, forked from here, do end.
        monkeypatch.setattr(os, '_exit', lambda code: sys.exit(code) if os.getpid() == own else leave(code))
        code = None
        try:
            runpy.run_path(str(ROOT / 'tools' / script), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return code, printed.out + (printed.err if code else '')

    return run
