"""Figure 6 in miniature, through the scripts that a user calls: real training on a few stick figures."""

import json

import cv2
import pytest
from conftest import run_tool
from rethink.analysis.logs import read_run

CONFIG = 'configs/shapes/scratch_r18_gn_keypoint_1x.py'
ITERS = 24


def run(name, *arguments):
    done = run_tool(name, *arguments, OMP_NUM_THREADS='1')
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def where(data, *parts):
    """Overrides that point the config to its data."""
    loaders = [f'{part}_dataloader.dataset.data_root={data}/' for part in parts]
    annotations = f'{data}/annotations/person_keypoints_val2017.json'
    workers = [f'{part}_dataloader.{key}' for part in parts for key in ('num_workers=0', 'persistent_workers=False')]
    return [*loaders, *workers, *[f'{part}_evaluator.ann_file={annotations}' for part in parts if part != 'train']]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('shapes')
    run('dataset_converters/make_shapes.py', folder, '--figures', '--figure-train', 16, '--figure-val', 6)
    assert [path.name for path in folder.iterdir()] == ['figures']
    return folder / 'figures'


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """The work directory of a training of some iterations."""
    folder = tmp_path_factory.mktemp('run')
    short = [f'train_cfg.max_iters={ITERS}', f'train_cfg.val_interval={ITERS}', 'default_hooks.logger.interval=1']
    # In so few iterations boxes learn to score a little.
    options = [*where(data, 'train', 'val'), *short, 'log_processor.window_size=1', 'randomness.seed=0']
    options += ['train_dataloader.batch_size=4', 'model.test_cfg.rcnn.score_thr=0.01']
    run('train.py', CONFIG, '--work-dir', folder, '--cfg-options', *options)
    return folder


def test_the_keypoint_loss_falls_and_keypoint_ap_is_computed(trained):
    log = read_run(trained)
    losses = [log.train[at]['loss_keypoint'] for at in range(1, ITERS + 1)]
    # A head that knows nothing has log(56 * 56) = 8.05.
    assert 7.5 < losses[0] < 9
    assert sum(losses[-4:]) / 4 < losses[0] - 1
    found = log.val[ITERS]
    for name in ('mAP', 'mAP_50', 'mAP_75', 'mAP_m', 'mAP_l'):
        assert -1 <= found[f'coco/keypoints_{name}'] <= 1
    assert found['coco/keypoints_mAP'] >= 0 and 'coco/bbox_mAP' in found


@pytest.mark.parametrize('tta', [False, True])
def test_a_checkpoint_is_tested_with_pictures(data, trained, tmp_path, tta):
    options = [*where(data, 'test'), 'model.test_cfg.rcnn.score_thr=0.01']
    more = ['--tta'] if tta else ['--show-dir', 'pictures']
    run('test.py', CONFIG, trained / f'iter_{ITERS}.pth', '--work-dir', tmp_path, *more, '--cfg-options', *options)
    (metrics,) = [json.loads(path.read_text()) for path in tmp_path.glob('*/*.json')]
    assert metrics['coco/keypoints_mAP'] >= 0
    if tta:
        return
    assert metrics['coco/keypoints_mAP'] == pytest.approx(read_run(trained).val[ITERS]['coco/keypoints_mAP'])
    pictures = sorted(tmp_path.glob('*/pictures/*.jpg'))
    assert len(pictures) == 6
    # Annotations on the left, predictions on the right, each 128 pixels wide.
    assert cv2.imread(str(pictures[0])).shape == (128, 256, 3)


def test_annotations_without_keypoints_end_in_one_sentence(data, trained, tmp_path):
    """A person_keypoints file is named, and one of boxes given."""
    content = json.loads((data / 'annotations' / 'person_keypoints_train2017.json').read_text())
    for one in content['annotations']:
        del one['keypoints'], one['num_keypoints']
    content['categories'] = [dict(id=1, name='person')]
    (tmp_path / 'instances.json').write_text(json.dumps(content))
    options = [*where(data, 'train', 'val'), f'train_dataloader.dataset.ann_file={tmp_path}/instances.json']
    done = run_tool('train.py', CONFIG, '--work-dir', tmp_path, '--cfg-options', *options)
    assert done.returncode == 2
    assert 'instances.json of train_dataloader.dataset has no keypoints' in done.stderr.strip().splitlines()[-1]
