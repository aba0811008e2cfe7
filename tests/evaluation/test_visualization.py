"""Skeletons in pictures: what is labelled or predicted is drawn, where it is, and nothing else changes."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from rethink.datasets.coco_keypoint import CocoKeypointDataset
from rethink.evaluation.visualization import KeypointLocalVisualizer

GREY = np.full((80, 100, 3), 128, np.uint8)


@pytest.fixture
def draw(tmp_path):
    visualizer = KeypointLocalVisualizer(name=f'test {tmp_path.name}', radius=2)
    visualizer.dataset_meta = CocoKeypointDataset.METAINFO

    def drawn(**instances):
        sample = DetDataSample()
        number = len(instances['keypoints'])
        # Boxes far from the keypoints, without scores to write.
        sample.gt_instances = InstanceData(
            bboxes=torch.zeros(number, 4), labels=torch.zeros(number, dtype=torch.long), **instances
        )
        visualizer.add_datasample('image', GREY, sample, draw_pred=False)
        return visualizer.get_image().astype(int)

    return drawn


def one_person(**visibility):
    """Everything on the left of the image and not labelled, but for what is named: x, y, visibility."""
    names = CocoKeypointDataset.METAINFO['keypoints']
    keypoints = torch.zeros(1, 17, 3)
    for name, place in visibility.items():
        keypoints[0, names.index(name)] = torch.tensor(place)
    return keypoints


def changed(image):
    y, x = np.nonzero(np.abs(image - GREY).max(-1) > 30)
    return x, y


def test_a_bone_is_drawn_between_its_ends(draw):
    x, y = changed(draw(keypoints=one_person(left_knee=(30.0, 20.0, 2.0), left_ankle=(70.0, 20.0, 1.0))))
    assert x.min() in range(27, 30) and x.max() in range(69, 74)
    assert set(range(32, 66)) <= set(x) and y.min() >= 16 and y.max() <= 24


def test_what_is_not_labelled_is_not_drawn(draw):
    x, y = changed(draw(keypoints=one_person(left_knee=(30.0, 20.0, 2.0), left_ankle=(70.0, 20.0, 0.0))))
    assert len(x) and x.max() < 35 and y.min() > 15
    assert not len(changed(draw(keypoints=one_person()))[0])
    assert not len(changed(draw(keypoints=torch.zeros(0, 17, 3)))[0])


def test_hidden_keypoints_are_rings(draw):
    def middle(visibility):
        image = draw(keypoints=one_person(nose=(50.5, 40.5, visibility)))
        return np.abs(image[40, 50] - 128).max()

    assert middle(2.0) > 30 > middle(1.0)


def test_sides_have_their_colours(draw):
    left, right = (
        draw(keypoints=one_person(**{f'{side}_eye': (50.0, 40.0, 2.0)}))[40, 50] for side in ('left', 'right')
    )
    assert np.abs(left - right).max() > 100


def test_predictions_with_a_low_score_are_left_out(draw):
    points = one_person(left_knee=(30.0, 20.0, 0), left_ankle=(70.0, 20.0, 0))[..., :2]
    scores = torch.full((1, 17), -1.0)
    scores[0, 13] = 5.0
    x, _ = changed(draw(keypoints=points, keypoint_scores=scores))
    assert len(x) and x.min() > 26 and x.max() < 34


def test_keypoints_outside_do_not_move_the_picture(draw):
    image = draw(keypoints=one_person(left_knee=(30.0, 20.0, 2.0), left_ankle=(130.0, 20.0, 2.0)))
    assert image.shape == GREY.shape
    x, y = changed(image)
    assert x.max() == 99 and set(y) < set(range(16, 25))


def test_points_without_a_skeleton(draw, tmp_path):
    visualizer = KeypointLocalVisualizer(name=f'own {tmp_path.name}', radius=2)
    visualizer.dataset_meta = dict(CocoKeypointDataset.METAINFO, keypoints=('a', 'b'), skeleton=())
    sample = DetDataSample()
    points = torch.tensor([[[30.0, 20.0, 2.0], [70.0, 20.0, 2.0]]])
    sample.gt_instances = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.zeros(1).long(), keypoints=points)
    visualizer.add_datasample('image', GREY, sample, draw_pred=False)
    x, _ = changed(visualizer.get_image().astype(int))
    assert {30, 70} <= set(x) and not set(range(35, 66)) & set(x)
