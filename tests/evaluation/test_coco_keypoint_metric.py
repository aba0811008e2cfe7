"""Keypoint AP on cases whose result is known."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from rethink.datasets.coco_keypoint import PIXEL_CENTRE

# COCO's constants, from its description of the evaluation: how far annotators are apart, by the root of the area.
SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
AREA = 50 * 50.0


def person(number, image, keypoints, **more):
    x, y = keypoints[:, :2].min(0)
    flat = [float(value) for value in keypoints.ravel()]
    one = dict(
        id=number, image_id=image, category_id=1, keypoints=flat, num_keypoints=int((keypoints[:, 2] > 0).sum())
    )
    return one | dict(bbox=[float(x), float(y), 50.0, 50.0], area=AREA, iscrowd=0) | more


def people(images=2):
    """One person in each of ``images`` images; a third image has nobody."""
    random = np.random.default_rng(0)
    found = []
    for index in range(images):
        keypoints = np.concatenate([random.integers(20, 70, (17, 2)), np.full((17, 1), 2)], 1)
        keypoints[3] = 0  # not labelled
        found.append(person(index + 1, index + 1, keypoints))
    return found


def metric(tmp_path, annotations, **more):
    init_default_scope('mmdet')
    images = [dict(id=index, file_name=f'{index}.jpg', width=100, height=100) for index in (1, 2, 3)]
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')])
    (tmp_path / 'a.json').write_text(json.dumps(content))
    built = METRICS.build(
        dict(type='CocoKeypointMetric', ann_file=str(tmp_path / 'a.json'), metric=['bbox', 'keypoints']) | more
    )
    built.dataset_meta = dict(classes=('person',))
    return built


def predicted(annotations, image, move=0.0, score=0.9):
    """What a detector would say: an annotation with its keypoints moved to the right."""
    ours = [one for one in annotations if one['image_id'] == image]
    keypoints = torch.tensor([one['keypoints'] for one in ours]).reshape(-1, 17, 3)[..., :2] + PIXEL_CENTRE
    keypoints[..., 0] += move
    boxes = torch.tensor([one['bbox'] for one in ours]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = torch.zeros(len(ours), dtype=torch.long)
    pred = dict(bboxes=boxes, scores=torch.full((len(ours),), score), labels=labels, keypoints=keypoints)
    return dict(pred_instances=pred, img_id=image, ori_shape=(100, 100))


def evaluate(built, samples):
    for sample in samples:  # one batch each
        built.process({}, [sample])
    return built.evaluate(3)


def similarity(move):
    """OKS, Lin et al.: the mean of exp(-d² / (2 s² k²)) over labelled keypoints, with k = 2 sigma and s² the area."""
    labelled = np.arange(17) != 3
    return np.exp(-(move**2) / (2 * AREA * (2 * SIGMAS[labelled]) ** 2)).mean()


def test_perfect_keypoints_have_ap_one_beside_box_ap(tmp_path):
    """That COCO names pixels and we their middles costs nothing; an image without people neither."""
    annotations = people()
    found = evaluate(metric(tmp_path, annotations), [predicted(annotations, image) for image in (1, 2, 3)])
    for name in ('mAP', 'mAP_50', 'mAP_75', 'mAP_m'):
        assert found[f'coco/keypoints_{name}'] == found[f'coco/bbox_{name}'] == 1
    assert found['coco/keypoints_mAP_l'] == -1  # nobody is large


@pytest.mark.parametrize('move', [1.3, 3.0, 4.0, 6.0])
def test_keypoints_that_are_off_by_a_known_distance(tmp_path, move):
    """Both people have one OKS, so that AP is the part of the ten thresholds that it reaches."""
    annotations, oks = people(), similarity(move)
    thresholds = np.linspace(0.5, 0.95, 10)
    assert np.abs(oks - thresholds).min() > 1e-3  # not on one
    found = evaluate(metric(tmp_path, annotations), [predicted(annotations, image, move) for image in (1, 2)])
    assert found['coco/keypoints_mAP'] == pytest.approx((oks >= thresholds).mean(), abs=1e-3)
    assert found['coco/keypoints_mAP_75'] == float(oks >= 0.75)
    assert found['coco/bbox_mAP'] == 1  # boxes have not moved


def test_some_move_takes_every_side_of_the_thresholds():
    assert similarity(1.3) > 0.75 > similarity(6.0) > 0.2


def test_a_false_person_that_scores_higher_halves_precision(tmp_path):
    annotations = people(1)
    wrong = predicted(annotations, 1, move=200, score=0.95)
    both = predicted(annotations, 1)
    for key, value in both['pred_instances'].items():
        both['pred_instances'][key] = torch.cat([value, wrong['pred_instances'][key]])
    found = evaluate(metric(tmp_path, annotations), [both])
    # Interpolated precision at every recall is 1/2.
    assert found['coco/keypoints_mAP'] == pytest.approx(0.5)


def test_nothing_predicted(tmp_path):
    annotations = people()
    nothing = [predicted([], image) for image in (1, 2, 3)]
    found = evaluate(metric(tmp_path, annotations), nothing)
    assert found['coco/keypoints_mAP'] == found['coco/keypoints_mAP_50'] == 0


def test_nobody_to_find(tmp_path):
    """A crowd and somebody without labels are not to be found, and whoever is found there is no mistake."""
    annotations = people()
    unlabelled = annotations[1] | dict(keypoints=[0.0] * 51, num_keypoints=0)
    crowd = annotations[0] | dict(iscrowd=1)
    found = evaluate(metric(tmp_path, [crowd, unlabelled]), [predicted(annotations, image) for image in (1, 2)])
    assert found['coco/keypoints_mAP'] == -1
    found = evaluate(
        metric(tmp_path, [annotations[0], unlabelled]), [predicted(annotations, image, score=0.9) for image in (1, 2)]
    )
    assert found['coco/keypoints_mAP'] == 1


def test_what_it_writes_for_a_server(tmp_path):
    annotations = people()
    built = metric(tmp_path, annotations, format_only=True, outfile_prefix=str(tmp_path / 'results'))
    assert not evaluate(built, [predicted(annotations, image) for image in (1, 2)])
    written = json.loads((tmp_path / 'results.keypoints.json').read_text())
    assert [set(one) for one in written] == 2 * [{'image_id', 'category_id', 'keypoints', 'score'}]
    assert np.reshape(written[1]['keypoints'], (17, 3))[:, :2] == pytest.approx(
        np.reshape(annotations[1]['keypoints'], (17, 3))[:, :2]
    )


def test_annotations_without_keypoints(tmp_path):
    annotations = people()
    del annotations[0]['num_keypoints']
    with pytest.raises(ValueError, match=r'a\.json has annotations without keypoints'):
        metric(tmp_path, annotations)
    with pytest.raises(ValueError, match='needs ann_file'):
        METRICS.build(dict(type='CocoKeypointMetric'))
