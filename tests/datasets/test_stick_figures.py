"""The generated people: deterministic, COCO's layout, keypoints on what is drawn."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from rethink.datasets import stick_figures
from rethink.datasets.coco_keypoint import PERSON_KEYPOINTS, PERSON_SKELETON

SPEC = stick_figures.FigureSpec(train=16, val=4, size=96)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('figures')
    assert stick_figures.write_figures(folder, SPEC, progress=False)
    return folder


def test_same_arguments_same_bytes_and_written_once(root, tmp_path):
    stick_figures.write_figures(tmp_path, SPEC, progress=False)
    names = sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())
    assert len(names) == 16 + 4 + 3
    for name in names:
        assert (
            hashlib.sha256((root / name).read_bytes()).digest()
            == hashlib.sha256((tmp_path / name).read_bytes()).digest()
        )
    assert not stick_figures.write_figures(root, SPEC, progress=False)
    with pytest.raises(FileExistsError, match='other seed'):
        stick_figures.write_figures(root, stick_figures.FigureSpec(train=16, val=4, size=96, seed=1), progress=False)


def test_it_is_cocos_layout(root):
    coco = COCO(root / 'annotations' / 'person_keypoints_train2017.json')
    (category,) = coco.dataset['categories']
    assert category['name'] == 'person' and tuple(category['keypoints']) == PERSON_KEYPOINTS
    bones = [tuple(category['keypoints'][index - 1] for index in bone) for bone in category['skeleton']]
    assert bones == list(PERSON_SKELETON)
    seen = set()
    for one in coco.anns.values():
        keypoints = np.array(one['keypoints']).reshape(17, 3)
        labelled = keypoints[:, 2] > 0
        seen |= set(keypoints[:, 2])
        assert one['num_keypoints'] == labelled.sum() and not keypoints[~labelled].any()
        assert (keypoints[labelled, :2] >= -0.5).all() and (keypoints[labelled, :2] < 95.5).all()
        mask = coco.annToMask(one)
        assert mask.sum() == pytest.approx(one['area'], rel=0.15)
        # What can be seen is on the person, give or take what is left out as a sliver.
        x, y = keypoints[keypoints[:, 2] == 2, :2].T.round().astype(int).clip(0, 95)
        grown = cv2.dilate(mask, np.ones((5, 5), np.uint8))
        assert grown[y, x].all()
    assert seen == {0, 1, 2}
    assert any(one['num_keypoints'] == 0 for one in coco.anns.values())


def test_everybody_faces_the_viewer():
    for seed in range(20):
        points, parts = stick_figures.pose(np.random.default_rng(seed))
        at = dict(zip(PERSON_KEYPOINTS, points, strict=True))
        assert at['left_shoulder'][0] > at['right_shoulder'][0] and at['nose'][1] < at['left_hip'][1]
        assert {name.split('_')[-1] for name in parts} == {'leg', 'torso', 'arm', 'head'}


@pytest.mark.parametrize('wrong', [dict(figures=(0, 2)), dict(scale=(0.9, 0.2)), dict(train=0), dict(difficulty=2)])
def test_arguments_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        stick_figures.FigureSpec(**wrong)


def test_the_annotations_are_json_of_plain_numbers(root):
    content = json.loads((root / 'annotations' / 'person_keypoints_val2017.json').read_text())
    assert content['info']['seed'] == 0 and len(content['images']) == 4
    assert all(isinstance(one['num_keypoints'], int) for one in content['annotations'])
