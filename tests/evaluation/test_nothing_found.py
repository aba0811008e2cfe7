"""Of a detector that finds nothing AP is 0, as pycocotools has it, and it is logged."""

import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.evaluation.names import logged_names


def evaluate(path, boxes=(), **options):
    """CocoMetric on images 0 to 11, each with the same detections of class 0."""
    metric = CocoMetric(ann_file=str(path), **options)
    metric.dataset_meta = dict(classes=('square', 'bar'))
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    for image in range(12):
        found = dict(bboxes=boxes, scores=torch.ones(len(boxes)), labels=torch.zeros(len(boxes), dtype=torch.long))
        metric.process({}, [dict(pred_instances=found, img_id=image, ori_shape=(64, 64))])
    return metric.evaluate(12)


def test_nothing_found_is_what_pycocotools_gives(data):
    path = data / 'annotations.json'
    found = evaluate(path, classwise=True)
    truth = COCO(str(path))
    nothing = COCO()
    nothing.dataset = dict(truth.dataset, annotations=[])
    nothing.createIndex()
    oracle = COCOeval(truth, nothing, 'bbox')
    oracle.evaluate()
    oracle.accumulate()
    oracle.summarize()
    names = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    assert [found[f'coco/bbox_{name}'] for name in names] == oracle.stats[:6].tolist()
    assert found['coco/bbox_mAP'] == 0 and found['coco/bbox_mAP_l'] == -1  # no object is large
    assert found['coco/square_precision'] == found['coco/bar_precision'] == 0


def test_proposals(data):
    assert evaluate(data / 'annotations.json', metric='proposal')['coco/AR@100'] == 0


def test_something_found_is_as_before(data):
    box = json.loads((data / 'annotations.json').read_text())['annotations'][0]['bbox']
    x, y, w, h = box
    assert evaluate(data / 'annotations.json', [[x, y, x + w, y + h]])['coco/bbox_mAP'] > 0


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(metric=['bbox', 'proposal']),
        dict(metric_items=['mAP', 'AR@100']),
        dict(metric='proposal_fast', proposal_nums=(1, 10)),
        dict(prefix='mine'),
    ],
)
def test_names_are_known_before(data, options):
    box = [[0.0, 0.0, 20.0, 20.0]]
    found = evaluate(data / 'annotations.json', box, **options)
    assert sorted(found) == sorted(logged_names(dict(type='CocoMetric', **options)))
    assert all(np.isfinite(value) for value in found.values())


def test_names_that_are_not_known():
    assert logged_names(dict(type='CocoMetric', classwise=True)) is None
    assert logged_names(dict(type='OpenImagesMetric')) is None
    keypoints = logged_names(dict(type='CocoKeypointMetric', metric=['bbox', 'keypoints']))
    assert keypoints[0] == 'coco/bbox_mAP' and 'coco/keypoints_mAP_m' in keypoints and len(keypoints) == 11
