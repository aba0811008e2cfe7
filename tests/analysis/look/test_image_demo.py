"""``tools/image_demo.py`` on a tiny detector, beside what ``tools/test.py`` says of the same images."""

import json
import os
import pickle
import shutil

import cv2
import numpy as np
import pytest
import torch
from conftest import run_tool, write_coco, write_detector
from pycocotools import mask
from web_server import web_server

SCORE = 0.004


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with ``tiny.py``, its work directory ``run`` and the photographs ``data/images``."""
    folder = tmp_path_factory.mktemp('look')
    more = "default_hooks['checkpoint'].update(save_best='auto')\nmodel['test_cfg']['score_thr'] = 0.0"
    config = write_detector(folder / 'tiny.py', write_coco(folder / 'data', images=4), more)
    done = run_tool('train.py', config, '--work-dir', folder / 'run')
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def tested(trained):
    """Name of an image -> what ``test.py --out`` has of it."""
    best = next((trained / 'run').glob('best_*.pth'))
    out = trained / 'found.pkl'
    done = run_tool('test.py', trained / 'tiny.py', best, '--out', out, '--work-dir', trained / 'test')
    assert done.returncode == 0, done.stderr
    return {one['img_path'].rpartition('/')[2]: one['pred_instances'] for one in pickle.loads(out.read_bytes())}


def of(folder, name):
    return json.loads((folder / 'preds' / f'{name}.json').read_text())


def assert_same(found, expected, atol=0.0):
    assert found['labels'] == expected['labels'].tolist()
    np.testing.assert_allclose(found['scores'], expected['scores'], rtol=0, atol=atol)
    np.testing.assert_allclose(found['bboxes'], expected['bboxes'], rtol=0, atol=atol)
    assert found['names'] == [('square', 'bar')[label] for label in found['labels']]


def test_a_folder_and_a_work_directory(trained, tested, tmp_path):
    done = run_tool(
        'image_demo.py',
        trained / 'data' / 'images',
        trained / 'run',
        *('--out-dir', tmp_path / 'out', '--score-thr', SCORE),
    )
    assert done.returncode == 0, done.stderr
    assert 'best_coco_bbox_mAP_iter_8.pth, with the config' in done.stdout
    kept = sum(int((one['scores'] >= SCORE).sum()) for one in tested.values())
    assert kept > 0
    assert done.stdout.splitlines()[-1].startswith(f'4 images: {kept} objects with a score of {SCORE} or more (')
    assert done.stderr.endswith(f'Written: {tmp_path / "out/vis"}, {tmp_path / "out/preds"}\n')
    for name, expected in tested.items():
        assert_same(of(tmp_path / 'out', name[:-4]), expected)
        picture, painted = (cv2.imread(str(at / name)) for at in (trained / 'data/images', tmp_path / 'out/vis'))
        # Painted in the size of the image; where nothing is drawn it is the image, in its own order of colours.
        assert painted.shape == picture.shape and (painted != picture).any()
    assert sorted(path.name for path in (tmp_path / 'out/vis').iterdir()) == sorted(tested)


def look(run, *arguments):
    code, printed = run('image_demo.py', *arguments)
    assert not code, printed
    return printed


def test_what_is_not_drawn_on_stays_as_it_was(trained, run_in_process, tmp_path):
    look(
        run_in_process,
        *(trained / 'data/images/000.png', trained / 'tiny.py', trained / 'run/iter_8.pth'),
        *('--out-dir', tmp_path, '--score-thr', 2),
    )
    before, after = (cv2.imread(str(at / '000.png')) for at in (trained / 'data/images', tmp_path / 'vis'))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize('how', ['weights', 'within', 'two inputs, in batches'])
def test_other_ways_to_name_the_model(trained, tested, run_in_process, tmp_path, how):
    best = next((trained / 'run').glob('best_*.pth'))
    images = [trained / 'data/images/000.png', trained / 'data/images/001.png']
    arguments = {
        'weights': [images[0], trained / 'tiny.py', '--weights', best],
        'within': [images[0], best],
        'two inputs, in batches': [*images, trained / 'tiny.py', best, '--batch-size', 2],
    }[how]
    printed = look(run_in_process, *arguments, '--out-dir', tmp_path, '--no-save-vis')
    assert not (tmp_path / 'vis').exists() and 'pictures' not in printed
    # Images of a batch are padded to one size.
    assert_same(of(tmp_path, '000'), tested['000.png'], 1e-3 if 'batches' in how else 0.0)


def test_the_config_of_a_work_directory_is_not_executed(trained, run_in_process, tmp_path):
    shutil.copytree(trained / 'run', tmp_path / 'run')
    for dump in [*tmp_path.glob('run/*.py'), *tmp_path.glob('run/*/vis_data/config.py')]:
        dump.write_text(dump.read_text() + f"\nopen('{tmp_path}/ran', 'w')\n")
    code, printed = run_in_process('image_demo.py', trained / 'data/images', tmp_path / 'run')
    assert code == 2 and 'is more than values' in printed and not (tmp_path / 'ran').exists()


def test_a_video(trained, tested, run_in_process, tmp_path):
    frames = [cv2.imread(str(trained / 'data/images' / name)) for name in ('001.png', '003.png')]
    height, width = frames[0].shape[:2]
    # Without loss, so that each frame is the image.
    writer = cv2.VideoWriter(str(tmp_path / 'two.avi'), cv2.VideoWriter_fourcc(*'FFV1'), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    best = next((trained / 'run').glob('best_*.pth'))
    printed = look(
        run_in_process,
        *(tmp_path / 'two.avi', trained / 'tiny.py', best, '--out-dir', tmp_path / 'out', '--score-thr', SCORE),
    )
    assert '1 video of 2 frames: ' in printed
    for found, name in zip(of(tmp_path / 'out', 'two'), ('001.png', '003.png'), strict=True):
        assert_same(found, tested[name], 1e-4)
    painted = cv2.VideoCapture(str(tmp_path / 'out/vis/two.mp4'))
    assert (painted.get(cv2.CAP_PROP_FPS), painted.get(cv2.CAP_PROP_FRAME_COUNT)) == (10, 2)
    read, first = painted.read()
    assert read and first.shape == frames[0].shape
    # MP4 loses some, but does not swap red and blue.
    error, swapped = (np.abs(first.astype(int) - other).mean() for other in (frames[0], frames[0][..., ::-1]))
    assert error < 30 and error < swapped
    assert [path.name for path in (tmp_path / 'out/vis').iterdir()] == ['two.mp4']


def test_an_image_that_is_none_is_left_out_and_alone_it_is_an_error(trained, run_in_process, tmp_path):
    (tmp_path / 'photos').mkdir()
    shutil.copy(trained / 'data/images/000.png', tmp_path / 'photos/a.png')
    (tmp_path / 'photos/b.jpg').write_bytes(b'no image at all')
    (tmp_path / 'photos/c.jpg').write_bytes(b'')
    printed = look(run_in_process, tmp_path / 'photos', trained / 'run', '--out-dir', tmp_path / 'out')
    assert f'warning: the image {tmp_path}/photos/b.jpg cannot be read (OpenCV knows no such image)' in printed
    assert 'c.jpg cannot be read (it is empty)' in printed
    assert printed.strip().splitlines()[-1].startswith('1 image: ')
    assert printed.strip().endswith(' 2 not read.')
    code, printed = run_in_process('image_demo.py', tmp_path / 'photos/b.jpg', trained / 'run')
    assert code == 2 and f'error: the image {tmp_path}/photos/b.jpg cannot be read' in printed


def test_half_an_image_is_told(trained, run_in_process, tmp_path):
    picture = cv2.imread(str(trained / 'data/images/000.png'))
    content = cv2.imencode('.jpg', cv2.resize(picture, (480, 640)))[1].tobytes()
    (tmp_path / 'half.jpg').write_bytes(content[: len(content) // 2])
    code, printed = run_in_process('image_demo.py', tmp_path / 'half.jpg', trained / 'run')
    assert code == 2 and f'error: the image {tmp_path}/half.jpg cannot be read (it is cut off)' in printed


def changed(trained, tmp_path, change):
    content = torch.load(trained / 'run/iter_8.pth', map_location='cpu')
    change(content)
    torch.save(content, tmp_path / 'changed.pth')
    return tmp_path / 'changed.pth'


def test_a_checkpoint_of_another_model(trained, run_in_process, tmp_path, monkeypatch):
    wider = write_detector(tmp_path / 'wider.py', trained / 'data', "model['bbox_head']['stacked_convs'] = 2")
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    with web_server() as web:
        here = trained / 'run/iter_8.pth'
        address = web.put('iter_8.pth', here.read_bytes())
        for weights in (here, address):
            code, printed = run_in_process('image_demo.py', trained / 'data/images', wider, weights)
            assert code == 2 and f'{weights} does not fit the model' in printed
            assert 'use the config that the checkpoint was trained with' in printed
        out = ['--out-dir', tmp_path / 'out']
        code, printed = run_in_process('image_demo.py', trained / 'data/images', trained / 'tiny.py', address, *out)
        assert code is None, printed


def test_names_of_classes(trained, run_in_process, tmp_path):
    nameless = changed(trained, tmp_path, lambda content: content['meta'].pop('dataset_meta'))
    look(run_in_process, trained / 'data/images/000.png', trained / 'tiny.py', nameless, '--out-dir', tmp_path)
    assert set(of(tmp_path, '000')['names']) <= {'square', 'bar'}
    without = write_detector(tmp_path / 'without.py', trained / 'data', "test_dataloader['dataset'].pop('metainfo')")
    arguments = [trained / 'data/images/000.png', without, nameless, '--out-dir', tmp_path]
    code, printed = run_in_process('image_demo.py', *arguments)
    assert code == 2 and 'the names of the classes are missing' in printed and 'num_classes is 2' in printed
    named = """test_dataloader.dataset.metainfo.classes=('one','other')"""
    look(run_in_process, *arguments, '--cfg-options', named)
    assert set(of(tmp_path, '000')['names']) <= {'one', 'other'}


def test_wrong_requests(trained, run_in_process, tmp_path):
    image, run = trained / 'data/images/000.png', trained / 'run'
    for arguments, words in (
        ([image, trained / 'tiny.py'], 'is a config, and its weights are not named'),
        ([image, trained], 'name one, such as'),
        ([image, run, '--device', 'cuda:0'], '--device cuda:0 cannot be used here'),
        ([image, run / 'iter_8.pth', '--weights', run / 'iter_6.pth'], 'are both checkpoints'),
        ([tmp_path, run], 'there is no image'),
    ):
        code, printed = run_in_process('image_demo.py', *arguments)
        assert code == 2 and words in printed and printed.strip().splitlines()[-1].startswith('error: ')


def test_a_checkpoint_that_would_run_code_is_refused(trained, run_in_process, tmp_path):

    class Evil:
        def __reduce__(self):
            return os.system, (f'touch {tmp_path}/ran',)

    evil = changed(trained, tmp_path, lambda content: content.update(evil=Evil()))
    code, printed = run_in_process('image_demo.py', trained / 'data/images', trained / 'tiny.py', evil)
    assert code == 2 and 'holds more than values' in printed and not (tmp_path / 'ran').exists()


def test_masks_and_keypoints_are_in_the_json():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from rethink.analysis.look.inferencer import Inferencer

    inferencer = Inferencer.__new__(Inferencer)
    inferencer.model = type('Named', (), dict(dataset_meta=dict(classes=['person'])))
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    sample = DetDataSample(
        pred_instances=InstanceData(
            labels=torch.tensor([0]),
            scores=torch.tensor([0.5]),
            bboxes=torch.tensor([[2.0, 1.0, 5.0, 3.0]]),
            masks=masks,
            keypoints=torch.tensor([[[2.5, 1.5], [3.0, 2.0]]]),
            keypoint_scores=torch.tensor([[1.0, -2.0]]),
        )
    )
    found = json.loads(json.dumps(inferencer.pred2dict(sample)))
    assert found['keypoints'] == [[[2.5, 1.5], [3.0, 2.0]]] and found['keypoint_scores'] == [[1.0, -2.0]]
    assert found['names'] == ['person'] and found['bboxes'] == [[2.0, 1.0, 5.0, 3.0]]
    np.testing.assert_array_equal(mask.decode(found['masks'][0]), masks[0])
