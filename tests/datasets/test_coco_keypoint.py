"""Keypoints through a pipeline: loading, resizing, mirroring, packing."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import init_default_scope
from rethink.datasets.coco_keypoint import PERSON_KEYPOINTS, PERSON_SKELETON, mirrored_order


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmdet')


def person(number, image, labelled=17, **more):
    """Somebody whose keypoints tell who it is: x is the number, y counts."""
    keypoints = [v for index in range(17) for v in ((number, index, 2 - index % 2) if index < labelled else (0, 0, 0))]
    box = dict(bbox=[1, 2, 30, 40], area=600, iscrowd=0)
    return dict(id=number, image_id=image, category_id=1, keypoints=keypoints, num_keypoints=labelled) | box | more


PEOPLE = [
    person(1, 1, bbox=[90, 90, 5, 5]),  # outside the image
    person(2, 1),
    person(3, 1, area=0),
    person(4, 1, iscrowd=1, labelled=0),
    person(5, 1, labelled=3),
    person(6, 2, labelled=0),
    person(7, 3, iscrowd=1),
]


def data_set(tmp_path, people=PEOPLE, **more):
    images = [dict(id=index, file_name=f'{index}.jpg', width=64, height=48) for index in (1, 2, 3, 4)]
    categories = [dict(id=1, name='person', keypoints=PERSON_KEYPOINTS)]
    content = dict(images=images, annotations=people, categories=categories)
    (tmp_path / 'a.json').write_text(json.dumps(content))
    cfg = dict(type='CocoKeypointDataset', ann_file=str(tmp_path / 'a.json'), data_prefix=dict(img=''), pipeline=[])
    return DATASETS.build(cfg | more)


def test_people_keep_their_keypoints_where_others_are_left_out(tmp_path):
    data = data_set(tmp_path)
    assert len(data) == 4
    first = data.get_data_info(0)['instances']
    assert [one['keypoints'][0] for one in first] == [2, 0, 5]
    assert [one['ignore_flag'] for one in first] == [0, 1, 0]
    assert all(set(one) >= {'bbox', 'bbox_label', 'keypoints'} for one in first)
    assert data.metainfo['keypoints'] == PERSON_KEYPOINTS


def test_images_without_a_labelled_keypoint_are_not_trained_on(tmp_path):
    """Nor those where only a crowd has some. In tests all images count."""
    filter_cfg = dict(filter_no_keypoints=True)
    assert [data['img_id'] for data in data_set(tmp_path, filter_cfg=filter_cfg)] == [1]
    assert len(data_set(tmp_path, filter_cfg=filter_cfg, test_mode=True)) == 4


@pytest.mark.parametrize('keypoints', [None, [1, 2, 2] * 5])
def test_annotations_without_all_keypoints(tmp_path, keypoints):
    one = person(8, 1)
    del one['keypoints']
    with pytest.raises(ValueError, match=r'annotation 8 of .*a\.json has .*not 3 for each of 17; .*person_keypoints'):
        data_set(tmp_path, [one | (dict(keypoints=keypoints) if keypoints else {})])


def loaded(tmp_path, index=0):
    info = data_set(tmp_path).get_data_info(index)
    results = info | dict(img=np.zeros((48, 64, 3), np.uint8), ori_shape=(48, 64), img_shape=(48, 64))
    return TRANSFORMS.build(dict(type='LoadKeypointAnnotations', with_bbox=True))(results)


def test_loading(tmp_path):
    keypoints = loaded(tmp_path)['gt_keypoints']
    assert keypoints.shape == (3, 17, 3) and keypoints.dtype == np.float32
    assert keypoints[0, 4].tolist() == [2.5, 4.5, 2]  # the middle of pixel (2, 4)
    assert keypoints[0, 5, 2] == 1 and not keypoints[1, :, 2].any()
    assert loaded(tmp_path, 3)['gt_keypoints'].shape == (0, 17, 3)


def test_resizing(tmp_path):
    for transform in (
        dict(type='KeypointResize', scale=(128, 144), keep_ratio=False),
        dict(type='KeypointRandomChoiceResize', scales=[(128, 144)], keep_ratio=False),
    ):
        results = loaded(tmp_path)
        before, boxes = results['gt_keypoints'].copy(), results['gt_bboxes'].tensor.clone()
        results = TRANSFORMS.build(transform)(results)
        assert results['img'].shape[:2] == (144, 128)
        assert np.allclose(results['gt_keypoints'], before * [2, 3, 1])
        assert torch.allclose(results['gt_bboxes'].tensor, boxes * torch.tensor([2.0, 3.0, 2.0, 3.0]))


def flip(results):
    return TRANSFORMS.build(dict(type='KeypointRandomFlip', prob=1.0))(results)


def test_mirroring_moves_keypoints_and_pixels_alike():
    """A lit pixel for each of two keypoints is still under it afterwards, and left has become right."""
    image = np.zeros((48, 64, 3), np.uint8)
    keypoints = np.zeros((1, 17, 3), np.float32)
    for name, (x, y) in dict(left_wrist=(10, 20), nose=(0, 3)).items():
        image[y, x] = 255
        keypoints[0, PERSON_KEYPOINTS.index(name)] = (x + 0.5, y + 0.5, 2)
    results = dict(img=image, gt_keypoints=keypoints, gt_bboxes=HorizontalBoxes(torch.tensor([[0.0, 3, 11, 21]])))
    results = flip(results)
    (labelled,) = np.flatnonzero(results['gt_keypoints'][0, :, 2] * np.arange(17))  # not the nose, which is the first
    assert PERSON_KEYPOINTS[labelled] == 'right_wrist'
    for x, y, _ in results['gt_keypoints'][0, [0, labelled]]:
        assert results['img'][int(y), int(x), 0] == 255 and x % 1 == y % 1 == 0.5
    assert results['gt_bboxes'].tensor.tolist() == [[53, 3, 64, 21]]


def test_mirroring_twice_is_nothing(tmp_path):
    results = loaded(tmp_path)
    results['img'] = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    before = results['gt_keypoints'].copy(), results['img'].copy()
    once = flip(results)
    assert not np.allclose(once['gt_keypoints'], before[0])
    twice = flip(once)
    assert np.array_equal(twice['gt_keypoints'], before[0]) and np.array_equal(twice['img'], before[1])


def test_left_and_right_change_places():
    order = mirrored_order(PERSON_KEYPOINTS)
    for name, index in zip(PERSON_KEYPOINTS, order, strict=True):
        swapped = name.replace('left', 'RIGHT').replace('right', 'left').lower()
        assert PERSON_KEYPOINTS[index] == swapped
    assert order[0] == 0 and [order[index] for index in order] == list(range(17))
    # The skeleton is the same in the mirror.
    names = [{PERSON_KEYPOINTS[order[PERSON_KEYPOINTS.index(name)]] for name in bone} for bone in PERSON_SKELETON]
    assert all(set(bone) in names for bone in PERSON_SKELETON)
    with pytest.raises(ValueError, match="'left_paw' has no mirrored partner"):
        mirrored_order(['nose', 'left_paw'])
    with pytest.raises(ValueError, match="horizontally only, not 'vertical'"):
        TRANSFORMS.build(dict(type='KeypointRandomFlip', prob=1.0, direction='vertical'))


def test_packing(tmp_path):
    packed = TRANSFORMS.build(dict(type='PackKeypointInputs'))(loaded(tmp_path))['data_samples']
    assert packed.gt_instances.keypoints.shape == (2, 17, 3) and packed.gt_instances.keypoints[1, 0, 0] == 5.5
    assert packed.ignored_instances.keypoints.shape == (1, 17, 3)
    assert len(packed.gt_instances.bboxes) == 2
