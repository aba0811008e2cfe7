"""Study A in miniature, through the scripts that a user calls: real trainings, a few iterations, generated data."""

import csv
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from rethink.analysis.logs import read_run
from rethink.datasets import shapes
from rethink.datasets.subsets import restrict
from warm_python import warm_python

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / 'configs' / 'shapes'
LENGTHS = ('1x', '6x')
CLASSES = "('ellipse','rectangle','triangle','star','cross')"


def run(*command, cwd: Path = ROOT, **environment) -> str:
    """The output of a command, which must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, 'PYTHON': str(warm_python()), **environment},
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def differences(one, other, path='') -> set[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            found
            for key in one.keys() | other.keys()
            for found in differences(one.get(key, '-'), other.get(key, '-'), f'{path}.{key}'.lstrip('.'))
        }
    return set() if one == other else {path}


@pytest.mark.parametrize('length', [*LENGTHS, '100_6x'])
def test_a_pair_differs_in_initialisation_and_freezing_alone(length):
    scratch, pretrain = (Config.fromfile(SHAPES / f'{arm}_r18_gn_{length}.py') for arm in ('scratch', 'pretrain'))
    assert differences(scratch.to_dict(), pretrain.to_dict()) == {
        'model.backbone.init_cfg',
        'model.backbone.frozen_stages',
    }
    assert scratch.model.backbone.frozen_stages == -1 and scratch.model.backbone.init_cfg is None


def test_the_long_schedule_only_adds_iterations_before_the_drops():
    short, long = (Config.fromfile(SHAPES / f'scratch_r18_gn_{length}.py') for length in LENGTHS)
    assert differences(short.to_dict(), long.to_dict()) == {
        'max_iters',
        'milestones',
        'train_cfg.max_iters',
        'train_cfg.val_interval',
        'param_scheduler',
    }
    assert long.max_iters == 6 * short.max_iters
    for cfg in (short, long):
        drops = [cfg.max_iters - at for at in cfg.param_scheduler[1].milestones]
        assert drops == list(short.drops_before_end)


def test_less_data_changes_the_annotation_file_alone():
    less, whole = (Config.fromfile(SHAPES / f'pretrain_r18_gn_{name}.py') for name in ('100_6x', '6x'))
    assert differences(less.to_dict(), whole.to_dict()) == {'train_dataloader.dataset.ann_file'}


def test_the_detector_sees_images_as_the_classifier_that_it_starts_from():
    classifier = Config.fromfile(SHAPES / 'classifier_r18_gn.py')
    detector = Config.fromfile(SHAPES / 'pretrain_r18_gn_1x.py')
    one, other = classifier.model.data_preprocessor, detector.model.data_preprocessor
    assert (one.mean, one.std, one.to_rgb) == (other.mean, other.std, other.bgr_to_rgb)
    register_all_modules()
    backbones = (
        MMPRETRAIN_MODELS.build(classifier.model.backbone),
        MMDET_MODELS.build(dict(detector.model.backbone, init_cfg=None)),
    )
    of_tensors = [{key: tensor.shape for key, tensor in one.state_dict().items()} for one in backbones]
    assert of_tensors[0] == of_tensors[1]
    assert tuple(classifier.classes) == detector.metainfo['classes']
    assert detector.model.backbone.init_cfg.checkpoint.endswith(f'/classifier_r18_gn/iter_{classifier.max_iters}.pth')


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """The study with `--quick`, on few images: the classifier and the four detectors, each for some iterations."""
    folder = tmp_path_factory.mktemp('demo')
    data = folder / 'data' / 'shapes'
    shapes.write_detection(data / 'detection', shapes.DetectionSpec(train=64, val=16))
    shapes.write_classification(data / 'classification', shapes.ClassificationSpec(train=128, val=64))
    command = [warm_python(), ROOT / 'tools/study.py', 'run', SHAPES / 'study_rethink.yml', '--quick', '--seeds', '3']
    command += ['--out-dir', folder / 'out']
    output = run(*command, cwd=folder)
    return folder / 'out' / 'seed3', data, command, output


def test_the_study_ends_with_a_table_from_its_logs_and_a_page(demo):
    folder, _, _, output = demo
    with open(folder.parent / 'results.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['metric'] == 'coco/bbox_mAP']
    for name, iterations in {'1x': 10, '6x': 60}.items():
        for arm in ('scratch', 'pretrain'):
            log = read_run(folder / f'{arm}_r18_gn_{name}')
            assert log.finished and log.max_iters == iterations
            losses = [log.train[at]['loss'] for at in sorted(log.train)]
            assert losses[-1] < losses[0]
            measured = {row['at']: float(row['value']) for row in rows if row['run'] == log.work_dir.name}
            expected = {str(at): 100 * value for at, value in log.curve('coco/bbox_mAP')}
            assert measured == pytest.approx(expected)
    assert (folder.parent / 'report.html').stat().st_size > 10_000 and (folder.parent / 'report.md').exists()
    assert str(folder.parent / 'report.html') in output


def test_the_fine_tuned_arm_starts_from_the_classifier_and_keeps_what_is_frozen(demo):
    folder = demo[0]
    classifier = torch.load(folder / 'classifier_r18_gn' / 'iter_20.pth', weights_only=False)['state_dict']

    def weights(run, key):
        return torch.load(folder / run / 'iter_60.pth', weights_only=False)['state_dict'][f'backbone.{key}']

    frozen, trained = 'layer1.0.conv1.weight', 'layer4.0.conv1.weight'
    assert torch.equal(weights('pretrain_r18_gn_6x', frozen), classifier[f'backbone.{frozen}'])
    moved = (weights('pretrain_r18_gn_6x', trained) - classifier[f'backbone.{trained}']).norm()
    assert 0 < moved < 0.5 * classifier[f'backbone.{trained}'].norm()
    away = (weights('scratch_r18_gn_6x', trained) - classifier[f'backbone.{trained}']).norm()
    assert away > classifier[f'backbone.{trained}'].norm()
    assert not torch.equal(weights('scratch_r18_gn_6x', frozen), classifier[f'backbone.{frozen}'])


def test_a_second_run_trains_nothing(demo):
    folder, data, command, _ = demo
    before = {
        path: path.stat().st_mtime_ns
        for path in [*folder.rglob('*.pth'), *folder.rglob('*.log'), *data.rglob('*.jpg')]
    }
    table = (folder.parent / 'results.csv').read_bytes()
    run(*command, cwd=folder.parents[1])
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(folder.rglob('*.log'))) == len([path for path in before if path.suffix == '.log'])
    assert (folder.parent / 'results.csv').read_bytes() == table


def test_a_kill_between_checkpoint_and_evaluation_loses_no_result(demo, tmp_path):
    """Started again at its end, a training evaluates its last checkpoint and trains nothing."""
    before = demo[0] / 'scratch_r18_gn_1x'
    shutil.copytree(before, tmp_path / 'run')
    for log in (tmp_path / 'run').glob('*/vis_data/scalars.json'):
        log.write_text('\n'.join(line for line in log.read_text().splitlines() if 'mAP' not in line))
    assert not read_run(tmp_path / 'run').finished
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'iter_10.pth'))
    options = [*where(demo[1])[:-1], 'train_cfg.max_iters=10', 'train_cfg.val_interval=10']
    script = [warm_python(), 'tools/train.py', SHAPES / 'scratch_r18_gn_1x.py', '--resume', '--work-dir']
    run(*script, tmp_path / 'run', '--cfg-options', *options)
    after = read_run(tmp_path / 'run')
    assert after.finished and set(after.train) == set(read_run(before).train)
    assert after.curve('coco/bbox_mAP') == read_run(before).curve('coco/bbox_mAP')


def where(data: Path) -> list[str]:
    """Overrides that point to the data, and that evaluate boxes of any score: a handful of iterations gives no others,
    and MMDetection logs no AP where there is no box at all."""
    root = f'{data}/detection/'
    loaders = [f'{name}_dataloader.dataset.data_root={root}' for name in ('train', 'val')]
    annotations = f'val_evaluator.ann_file={root}annotations/instances_val2017.json'
    return [*loaders, annotations, 'model.test_cfg.rcnn.score_thr=0.0']


def test_two_processes_train_on_cpu_and_end_with_the_metrics(demo, tmp_path):
    options = [*where(demo[1]), 'train_cfg.max_iters=6', 'train_cfg.val_interval=6', 'default_hooks.logger.interval=1']
    script = ['bash', 'tools/dist_train.sh', SHAPES / 'scratch_r18_gn_1x.py', 2, '--work-dir', tmp_path]
    output = run(*script, '--cfg-options', *options, PORT='29617')
    log = read_run(tmp_path)
    assert set(log.train) == set(range(1, 7)) and 'coco/segm_mAP' in log.val[6]
    assert 'coco/bbox_mAP' in output


@pytest.mark.parametrize('config', ['scratch_r18_gn_aug_6x', 'scratch_r18_syncbn_1x'])
def test_the_other_miniatures_train_in_one_process(demo, tmp_path, config):
    options = [*where(demo[1]), 'train_cfg.max_iters=8', 'train_cfg.val_interval=8', 'default_hooks.logger.interval=1']
    script = [warm_python(), 'tools/train.py', SHAPES / f'{config}.py', '--work-dir', tmp_path]
    run(*script, '--cfg-options', *options)
    log = read_run(tmp_path)
    assert set(log.train) == set(range(1, 9)) and 'coco/segm_mAP' in log.val[8]
    losses = [log.train[at]['loss'] for at in sorted(log.train)]
    assert losses[-1] < losses[0]
    weights = torch.load(tmp_path / 'iter_8.pth', weights_only=False)['state_dict']
    counters = {key: value for key, value in weights.items() if key.endswith('num_batches_tracked')}
    # Statistics of every BN have moved with every batch; GN has none.
    assert set(map(int, counters.values())) == ({8} if 'syncbn' in config else set())


def test_less_data_both_arms_and_a_grid_search(demo, tmp_path):
    """Of the scenes, a part is drawn; the fine-tuned arm is trained at two points of a grid, and then from scratch."""
    annotations = demo[1] / 'detection' / 'annotations' / 'instances_train2017.json'
    run(warm_python(), 'tools/dataset_converters/coco_subset.py', annotations, '--sizes', 24, '--out-dir', tmp_path)
    options = [*where(demo[1]), f'train_dataloader.dataset.ann_file={tmp_path}/instances_train2017_24.json']
    options += ['train_cfg.max_iters=8', 'train_cfg.val_interval=8', 'default_hooks.logger.interval=1']
    weights = f'model.backbone.init_cfg.checkpoint={demo[0]}/classifier_r18_gn/iter_20.pth'
    search = [
        warm_python(),
        'tools/grid_search.py',
        SHAPES / 'pretrain_r18_gn_100_6x.py',
        '--out-dir',
        tmp_path / 'grid',
    ]
    search += ['--lr', '0.02', '0.04', '--side-by-side', '2']
    output = run(*search, '--cfg-options', *options, weights)
    work_dirs = {rate: tmp_path / 'grid' / f'lr={rate}' for rate in ('0.02', '0.04')} | {
        'scratch': tmp_path / 'scratch'
    }
    train = [warm_python(), 'tools/train.py', SHAPES / 'scratch_r18_gn_100_6x.py', '--work-dir', tmp_path / 'scratch']
    run(*train, '--cfg-options', *options)
    # Eight iterations are within the warm-up, whose last step of 50 has the whole rate.
    rates = {name: read_run(folder).train[8]['lr'] for name, folder in work_dirs.items()}
    assert rates['scratch'] == rates['0.04'] == pytest.approx(2 * rates['0.02'])
    for name, folder in work_dirs.items():
        log = read_run(folder)
        assert log.finished and set(log.train) == set(range(1, 9)), name
        assert log.train[8]['loss'] < log.train[1]['loss']
        assert 'coco/segm_mAP' in log.val[8]
        ap = 100 * log.val[8]['coco/bbox_mAP']
        assert name == 'scratch' or re.search(
            rf'\| {name} \| \**{ap:.1f}\** \| 8 \| {ap:.1f} \| 8 \| finished \|', output
        )


def test_the_real_r50_model_takes_steps_on_shapes_and_is_tested(demo, tmp_path):
    """One line of overrides points a config for COCO at a data set in its layout."""
    val = json.loads((demo[1] / 'detection/annotations/instances_val2017.json').read_text())
    few = tmp_path / 'two_images.json'
    few.write_text(json.dumps(restrict(val, [one['id'] for one in val['images'][:2]])))
    options = [
        *where(demo[1]),
        f'train_dataloader.dataset.metainfo.classes={CLASSES}',
        f'val_dataloader.dataset.metainfo.classes={CLASSES}',
        *[f'model.roi_head.{head}_head.num_classes=5' for head in ('bbox', 'mask')],
        *[f'{name}.ann_file={few}' for name in ('val_dataloader.dataset', 'val_evaluator')],
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.logger.interval=1',
    ]
    config = ROOT / 'configs' / 'rethink' / 'scratch_r50_gn_6x.py'
    run(warm_python(), 'tools/train.py', config, '--work-dir', tmp_path, '--cfg-options', *options)
    log = read_run(tmp_path)
    assert set(log.train) == {1, 2} and 'coco/segm_mAP' in log.val[2]
    assert all(0 < entry['loss'] < 100 for entry in log.train.values())
    # The paper's warm-up has begun: from a third of 0.02.
    assert log.train[1]['lr'] == pytest.approx(0.02 / 3)
    weights = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert sum(re.fullmatch(r'backbone\.layer\d\.\d+\.conv2\.weight', key) is not None for key in weights) == 16
