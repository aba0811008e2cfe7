"""Grid search: what an axis changes, which points there are, wrong input, and a search through the tool."""

import csv
import io
import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, write_detector
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.dataset import Compose
from rethink.analysis.logs import read_run
from rethink.errors import ConfigError
from rethink.studies import grid
from rethink.studies.axes import Point
from rethink.studies.axes import points as points_of
from rethink.studies.grid import Grid

RETHINK = ROOT / 'configs' / 'rethink'
METRIC = 'coco/bbox_mAP'


def effective(cfg: Config, folder: Path, **axes) -> Config:
    (point,) = points_of(cfg, axes)
    return Grid(folder, cfg).effective(point)


def test_the_point_that_the_paper_found_is_the_config_with_its_hyper_parameters(tmp_path):
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    found = effective(cfg, tmp_path, lr=['0.04'], decay=['0.02'], shorter_side=['512,800'])
    retuned = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_retuned_6x.py')
    # Names that only a _base_ uses: these the overrides do not touch.
    found, retuned = (
        {key: value for key, value in one.to_dict().items() if key != 'train_pipeline'} for one in (found, retuned)
    )
    assert found == retuned
    assert cfg.optim_wrapper.optimizer.lr == 0.02, 'the config that the points share stays'


def pipelines(dataset) -> list:
    """Those of a data set and of the ones inside it."""
    inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', [])
    own = [dataset['pipeline']] if 'pipeline' in dataset else []
    return own + [one for part in inner for one in pipelines(part)]


def wrapped(dataset: dict) -> dict:
    """The data set twice, in wrappers, the second with a RandomResize that draws a ratio."""
    other = Config(dict(dataset)).to_dict()
    other['pipeline'] = [dict(step) for step in other['pipeline']]
    other['pipeline'][2] = dict(type='mmdet.RandomResize', scale=(133, 80), ratio_range=(0.1, 2.0), keep_ratio=True)
    repeated = dict(type='RepeatDataset', times=2, dataset=other)
    return dict(type='ConcatDataset', datasets=[dict(dataset), repeated])


@pytest.mark.parametrize('wrap', [False, True])
def test_the_range_of_scales_reaches_every_pipeline_and_is_what_images_get(wrap, tmp_path):
    register_all_modules()
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_6x.py')
    cfg.train_dataloader.dataset.pipeline[2].scale = (133, 80)
    if wrap:
        cfg.train_dataloader.dataset = wrapped(cfg.train_dataloader.dataset)
    dataset = effective(cfg, tmp_path, shorter_side=['51,80']).train_dataloader.dataset
    found = pipelines(dataset)
    assert len(found) == 1 + wrap
    np.random.seed(0)
    for pipeline in found:
        resize = Compose([TRANSFORMS.build(pipeline[2])])
        for height, width, bound in ((48, 64, None), (30, 100, 133)):
            sizes = [resize(dict(img=np.zeros((height, width, 3), np.uint8)))['img'].shape[:2] for _ in range(300)]
            shorter, longer = {min(size) for size in sizes}, {max(size) for size in sizes}
            if bound:  # 3:10, at which 133 for the longer side leaves 40 for the shorter one
                assert shorter == {40} and longer == {133}
            else:
                assert shorter == set(range(51, 81))


def test_a_grid_is_every_combination():
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    found = points_of(cfg, {'lr': ['0.01', '2e-2'], 'optim_wrapper.optimizer.weight_decay': ['0.0001', '0.001']})
    assert [point.name for point in found] == [
        'lr=0.01_weight_decay=0.0001',
        'lr=0.01_weight_decay=0.001',
        'lr=2e-2_weight_decay=0.0001',
        'lr=2e-2_weight_decay=0.001',
    ]
    assert found[2].overrides == ['optim_wrapper.optimizer.lr=0.02', 'optim_wrapper.optimizer.weight_decay=0.0001']


def test_a_point_named_with_fewer_axes_or_written_otherwise_is_the_same_point(tmp_path):
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    search = Grid(tmp_path, cfg)
    first = search.add(points_of(cfg, dict(lr=['0.01', '0.04'])))
    search.save()
    again = Grid(tmp_path, cfg)
    wanted = again.add(points_of(cfg, dict(lr=['1e-2', '0.02'], decay=['0.1', '0.02'])))
    assert wanted[0] == first[0], 'the decay of the config is 0.1'
    assert [point.name for point in again.points] == [
        'lr=0.01',
        'lr=0.04',
        'lr=1e-2_decay=0.02',
        'lr=0.02_decay=0.1',
        'lr=0.02_decay=0.02',
    ]


def test_the_schedule_fits_the_batch_size(tmp_path):
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    (point,) = points_of(cfg, dict(lr=['0.04']))
    whole, two = Grid(tmp_path / 'a', cfg), Grid(tmp_path / 'b', cfg, scale_to=2)
    assert (whole.iterations(point), two.iterations(point)) == (540_000, 4 * 540_000)
    assert two.effective(point).optim_wrapper.optimizer.lr == 0.01
    two.points = [point]
    two.save()
    with pytest.raises(ConfigError, match='holds a grid over another config .* they differ in auto_scale'):
        Grid(tmp_path / 'b', cfg)


def without_steps(cfg):
    cfg.param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=10)]


def without_resize(cfg):
    del cfg.train_dataloader.dataset.pipeline[2]


def distorting(cfg):
    cfg.train_dataloader.dataset.pipeline[2].keep_ratio = False


def by_epochs(cfg):
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)


@pytest.mark.parametrize(
    ('axes', 'change', 'sentence'),
    [
        ({'optim_wrapper.optimizer.lrr': ['1']}, None, 'has no optim_wrapper.optimizer.lrr to vary'),
        ({'param_scheduler.7.gamma': ['1']}, None, 'has no param_scheduler.7.gamma to vary'),
        ({'learning_rate': ['1']}, None, 'or one of lr, decay, shorter_side'),
        (dict(lr=[]), None, 'the axis lr has no values'),
        (dict(lr=['0.1', 'fast']), None, "lr is to be a number above 0, not 'fast'"),
        (dict(lr=['nan']), None, "lr is to be a number above 0, not 'nan'"),
        (dict(decay=['-1']), None, 'decay is to be a number above 0'),
        (dict(decay=['0.1']), without_steps, 'decay is the gamma of MultiStepLR, which is not in param_scheduler'),
        (dict(shorter_side=['640-800']), None, 'LOW,HIGH or one number'),
        (dict(shorter_side=['800,640']), None, 'is not a range from 1 to 1333'),
        (dict(shorter_side=['640,1400']), None, 'is not a range from 1 to 1333'),
        (dict(shorter_side=['640']), without_resize, 'changes Resize or RandomResize, and the training data'),
        (dict(shorter_side=['640']), distorting, 'no scale with keep_ratio=True'),
        (dict(lr=['0.1']), by_epochs, 'has no train_cfg.max_iters; a grid is of trainings by iterations'),
    ],
)
def test_an_axis_that_does_not_fit_is_one_sentence(axes, change, sentence, tmp_path):
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    if change:
        change(cfg)
    with pytest.raises(ConfigError) as error:
        found = points_of(cfg, axes)
        Grid(tmp_path, cfg).job(found[0], ['train'], [])
    assert sentence in str(error.value) and '\n' not in str(error.value)


def test_what_a_point_begins_with_is_looked_at_before_the_first_training(data, tmp_path):
    """Also where the points differ in nothing else."""
    config = write_detector(tmp_path / 'tiny.py', data, more="custom_hooks = [dict(type='InitFromBaseHook')]")
    cfg = Config.fromfile(config)
    cfg.custom_hooks[0].checkpoint = 'none.pth'
    register_all_modules()
    model = MODELS.build(cfg.model)
    whole, part = tmp_path / 'whole.pth', tmp_path / 'part.pth'
    weights = {f'backbone.{key}': value for key, value in model.backbone.state_dict().items()}
    torch.save(dict(state_dict=weights), whole)
    torch.save(dict(state_dict={key: one for key, one in weights.items() if 'layer3' not in key}), part)
    search = Grid(tmp_path / 'grid', cfg)
    points = points_of(cfg, {'custom_hooks.0.checkpoint': [str(whole), str(part)]})
    search.check(points[:1])
    with pytest.raises(ConfigError, match='part.pth .* does not fit the model'):
        search.check(points)


def test_a_folder_with_something_else_is_one_sentence(tmp_path):
    cfg = Config.fromfile(RETHINK / 'pretrain_r50_gn_35k_6x.py')
    search = Grid(tmp_path / 'grid', cfg)
    search.add(points_of(cfg, dict(lr=['0.01'])))
    search.save()
    other = Config.fromfile(RETHINK / 'scratch_r50_gn_35k_6x.py')
    with pytest.raises(ConfigError, match=r'they differ in model\.backbone\.frozen_stages; name another folder'):
        Grid(tmp_path / 'grid', other)
    (tmp_path / 'note.txt').write_text('mine')
    with pytest.raises(ConfigError, match='is not empty and holds no grid'):
        Grid(tmp_path, cfg)
    (tmp_path / 'grid' / 'grid.json').write_text('{"points": [')
    with pytest.raises(ConfigError, match='is not the record of a grid'):
        Grid(tmp_path / 'grid', cfg)


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.fixture
def search(tmp_path):
    """Five points of three iterations, whose logs a test writes."""
    config = tmp_path / 'tiny.py'
    config.write_text('optim_wrapper = dict(optimizer=dict(lr=0.1))\ntrain_cfg = dict(max_iters=3)')
    cfg = Config.fromfile(config)
    search = Grid(tmp_path / 'grid', cfg)
    search.add([Point(dict(lr=str(n)), [f'optim_wrapper.optimizer.lr={n}']) for n in range(1, 6)])

    def log(number, entries):
        folder = search.folder / f'lr={number}' / '20260101_000000' / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))

    search.log = log
    return search


def test_the_best_point_is_first_and_what_is_not_finished_says_so(search):
    search.log(1, [dict(loss=1.0, step=1), {METRIC: 0.25, 'step': 2}, {METRIC: 0.2, 'step': 3}])
    search.log(2, [{METRIC: 0.3, 'coco/segm_mAP': 0.1, 'step': 1}, dict(loss=1.0, step=2)])
    # Not one box was detected: MMDetection logs no AP.
    search.log(3, [dict(loss=9.0, step=1), dict(time=0.1, data_time=0.1, step=3)])
    search.log(5, [dict(loss=float('nan'), step=1)])
    (search.folder / 'lr=5' / 'failed.txt').write_text('lr=5 failed.')
    assert grid.write_table(search, METRIC).splitlines()[2:] == [
        '| 2 | **30.0** | 1 | 30.0 | 1 | at 2 of 3 |',
        '| 1 | 25.0 | 2 | 20.0 | 3 | finished |',
        '| 3 | 0.0 | 3 | 0.0 | 3 | finished |',
        '| 4 |  |  |  |  | missing |',
        '| 5 |  |  |  |  | failed at 1 of 3 |',
    ]
    lines = list(csv.reader((search.folder / 'table.csv').open()))
    assert lines[0] == ['lr', 'best', 'at', 'last', 'last at', 'run']
    assert lines[1] == ['2', '30.0', '1', '30.0', '1', 'at 2 of 3'] and len(lines) == 6
    assert '| 2 | **30.0** |' in (search.folder / 'table.md').read_text()
    with pytest.raises(ConfigError, match=r'has no coco/keypoints_mAP at 2; logged are coco/bbox_mAP\.'):
        grid.write_table(search, 'coco/keypoints_mAP')


def test_the_median_is_over_the_finished_reruns_of_each_combination(search):
    axis = 'randomness.seed'
    for lr in (1, 2):
        for seed in range(4):
            search.points.append(Point({'lr': str(lr), axis: str(seed)}, [f'optim_wrapper.optimizer.lr={lr}']))
    other, third = 'coco/segm_mAP', 'coco/bbox_mAP_50'
    for seed, value in enumerate((0.5, 0.1, 0.42)):
        early = {METRIC: 0.9, other: 0.9, third: 0.9, 'step': 2}
        search.log(f'1_seed={seed}', [early, {METRIC: value, other: value / 2, third: 2 * value, 'step': 3}])
    # Not at its end: it does not count.
    search.log('1_seed=3', [{METRIC: 0.99, other: 0.99, 'step': 2}])
    assert grid.write_medians(search, [METRIC, other], axis).splitlines() == [
        f'| lr | finished | {METRIC} | range | {other} | range |',
        '| --- | --- | --- | --- | --- | --- |',
        '| 1 | 3 of 4 | 42.0 | 10.0 to 50.0 | 21.0 | 5.0 to 25.0 |',
        '| 2 | 0 of 4 |  |  |  |  |',
    ]
    lines = list(csv.reader((search.folder / 'medians.csv').open()))
    assert lines[1] == ['1', '3 of 4', '42.0', '10.0 to 50.0', '21.0', '5.0 to 25.0'] and len(lines) == 3
    assert f'Medians over {axis} of ' in (search.folder / 'medians.md').read_text()
    # Of two reruns it is the mean.
    search.log('2_seed=0', [{METRIC: 0.2, 'step': 3}])
    search.log('2_seed=1', [{METRIC: 0.3, 'step': 3}])
    assert grid.medians(search, [METRIC], axis)[2] == ['2', '2 of 4', '25.0', '20.0 to 30.0']
    with pytest.raises(ConfigError, match=r'has the axis seed, .* its axes are lr, randomness\.seed\.'):
        grid.medians(search, [METRIC], 'seed')


# --- through the tool ------------------------------------------------------------------------------------------------


@pytest.fixture
def tool(run_in_process, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    # With which bad input ends a process.
    monkeypatch.setattr(os, '_exit', sys.exit)
    return partial(run_in_process, 'grid_search.py')


def test_a_search_runs_what_is_new_and_goes_on_past_a_failure(tool, data, tmp_path):
    config = write_detector(tmp_path / 'tiny.py', data)
    shared = ['--cfg-options', 'train_cfg.max_iters=4', 'train_cfg.val_interval=2', 'model.test_cfg.score_thr=0.0']
    folder = tmp_path / 'work_dirs' / 'grid_tiny'
    first = [config, '--lr', '0.01', '--axis', 'optim_wrapper.type', 'Nowhere', 'OptimWrapper']

    code, printed = tool(*first, '--dry-run', *shared)
    assert code is None and not folder.exists()
    assert printed.count('tools/train.py') == 2 and 'optim_wrapper.type=Nowhere' in printed

    code, printed = tool(*first, *shared)
    assert code == 'error: some points failed; what each said last is in its output.txt.'
    good = folder / 'lr=0.01_type=OptimWrapper'
    log = read_run(good)
    assert sorted(log.train) == [1, 2, 3, 4] and sorted(log.val) == [2, 4]
    assert log.config.optim_wrapper.optimizer.lr == 0.01 and log.config.train_cfg.max_iters == 4
    assert '| 0.01 | Nowhere |  |  |  |  | failed at 0 of 4 |' in printed
    assert 'Nowhere' in (folder / 'lr=0.01_type=Nowhere' / 'failed.txt').read_text()

    before = {path: path.stat().st_mtime_ns for path in good.rglob('*') if path.is_file()}
    code, printed = tool(config, '--lr', '0.01', '0.02', '--side-by-side', '2', *shared)
    assert code is None and '2 points, 1 of them finished' in printed
    assert {path: path.stat().st_mtime_ns for path in good.rglob('*') if path.is_file()} == before
    new = read_run(folder / 'lr=0.02')
    assert new.config.optim_wrapper.optimizer.lr == 0.02 and sorted(new.val) == [2, 4]
    lines = {(row[0], row[1]): row[2:] for row in csv.reader((folder / 'table.csv').open())}
    for key, run in {('0.01', 'OptimWrapper'): log, ('0.02', ''): new}.items():
        curve = dict(run.curve(METRIC))
        best, at, last, last_at, state = lines[key]
        assert (float(best), curve[int(at)]) == (
            pytest.approx(100 * max(curve.values()), abs=0.05),
            max(curve.values()),
        )
        assert (float(last), int(last_at), state) == (pytest.approx(100 * curve[4], abs=0.05), 4, 'finished')

    code, again = tool(config, '--table', *shared)
    assert code is None and again in printed

    median = ['--axis', 'randomness.seed', '1', '2', '--median', 'randomness.seed', '--metric', METRIC, METRIC + '_50']
    code, printed = tool(config, *median, '--side-by-side', '2', *shared)
    assert code is None
    values = [[100 * read_run(folder / f'seed={n}').val[4][key] for n in (1, 2)] for key in (METRIC, METRIC + '_50')]
    cells = ' | '.join(f'{sum(both) / 2:.1f} | {min(both):.1f} to {max(both):.1f}' for both in values)
    assert printed.splitlines()[-1] == f'| 2 of 2 | {cells} |'


@pytest.mark.parametrize(
    ('name', 'arguments', 'sentence'),
    [
        ('tiny', [], 'there is nothing to vary: name --lr, --decay, --shorter-side or --axis.'),
        (
            'tiny',
            ['--lr', '0.1', '--axis', 'lr', '0.2'],
            'the axis lr is named twice; name all its values in one place.',
        ),
        (
            'tiny',
            ['--axis', 'optim_wrapper.clip_grad.max_norm', '1'],
            'has no optim_wrapper.clip_grad.max_norm to vary',
        ),
        (
            'tiny',
            ['--lr', '0.1', '--cfg-options', 'lr'],
            "the override 'lr' is not of the form KEY=VALUE, as in model.backbone.depth=50.",
        ),
        (
            'tiny',
            ['--axis', 'train_dataloader.dataset.ann_file', 'no.json'],
            'no.json of train_dataloader.dataset does not',
        ),
        ('tiny', ['--lr', '0.1', '--gpus', '0'], '--gpus is 0, and is to be 1 or more.'),
        ('tiny', ['--lr', '0.1', '--side-by-side', '-1'], '--side-by-side is -1, and is to be 1 or more.'),
        ('tiny', ['--table'], 'there is no grid in work_dirs/grid_tiny.'),
        ('tyny', ['--lr', '0.1'], 'there is no config'),
    ],
)
def test_wrong_input_ends_before_anything_is_written(tool, data, tmp_path, monkeypatch, name, arguments, sentence):
    write_detector(tmp_path / 'tiny.py', data)
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    code, _ = tool(tmp_path / f'{name}.py', *arguments)
    (line,) = [line for line in sys.stderr.getvalue().splitlines() if 'OneDL' not in line]
    assert code == 2 and line.startswith('error: ') and sentence in line
    assert not (tmp_path / 'work_dirs').exists()
