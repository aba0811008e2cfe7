"""MMDetection's VOCMetric, on which the VOC configs rely, against VOC's definition of average precision."""

import warnings

import numpy as np
import pytest
import rethink  # noqa: F401  (first: gives mmcv its ops, which mmdet imports)
import torch
from mmdet.evaluation import VOCMetric

CLASSES = ('one', 'two', 'three')
# mAP is averaged from float32 values; everything before them is counting.
TOLERANCE = 1e-6


def iou(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of boxes whose last pixel belongs to them, as in VOC's development kit: (4,) and (n, 4) -> (n,)."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    inside = np.prod(np.maximum(high - low + 1, 0), 1)
    areas = [np.prod(box[..., 2:] - box[..., :2] + 1, -1) for box in (one, others)]
    return inside / (areas[0] + areas[1] - inside)


def average_precision(images: list[dict], label: int, points: int | None) -> float:
    """Of one class, float64, from the definition in VOC's development kit (2012: section 3.4.1; 2007: 11 points)."""
    found = [
        (score, number, box)
        for number, image in enumerate(images)
        for box, score, one in zip(image['boxes'], image['scores'], image['labels'], strict=True)
        if one == label
    ]
    objects = [image['gt'][image['gt_labels'] == label] for image in images]
    difficult = [image['difficult'][image['gt_labels'] == label] for image in images]
    taken = [np.zeros(len(one), bool) for one in objects]
    hits = []
    for _, number, box in sorted(found, key=lambda one: -one[0]):
        overlaps = iou(box, objects[number])
        best = overlaps.argmax() if len(overlaps) else None
        if best is None or overlaps[best] < 0.5:
            hits.append(False)
        elif not difficult[number][best]:
            hits.append(not taken[number][best])
            taken[number][best] = True
    hits = np.array(hits, float)
    recall = hits.cumsum() / sum((~one).sum() for one in difficult)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    if points:
        return np.mean([precision[recall >= at - 1e-12].max(initial=0) for at in np.linspace(0, 1, points)])
    steps = np.diff(recall, prepend=0)
    return sum(step * precision[index:].max() for index, step in enumerate(steps) if step)


def draw_images(number: int, seed: int) -> list[dict]:
    """Objects, a tenth of them difficult, and detections: moved objects, some twice, some of another class, noise."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(number):
        corner, size = rng.integers(0, 60, (6, 2)), rng.integers(8, 50, (6, 2))
        gt = np.concatenate([corner, corner + size], 1).astype(float)
        gt_labels = rng.integers(0, len(CLASSES), 6)
        moved = np.concatenate([gt, gt]) + rng.normal(0, 3, (12, 4))
        noise = rng.uniform(0, 60, (5, 2))
        boxes = np.concatenate([moved, np.concatenate([noise, noise + rng.uniform(5, 40, (5, 2))], 1)])
        labels = np.concatenate([gt_labels, gt_labels, rng.integers(0, len(CLASSES), 5)])
        wrong = rng.random(17) < 0.2
        labels[wrong] = rng.integers(0, len(CLASSES), wrong.sum())
        images.append(
            dict(
                gt=gt,
                gt_labels=gt_labels,
                difficult=rng.random(6) < 0.1,
                boxes=boxes.astype(np.float32).astype(float),
                scores=rng.random(17).astype(np.float32).astype(float),
                labels=labels,
            )
        )
    return images


def evaluate(images: list[dict], year: str = 'VOC2012', **kwargs) -> dict:
    metric = VOCMetric(**kwargs)
    metric.dataset_meta = dict(classes=CLASSES, dataset_type=year)
    for image in images:
        gt, kept = (torch.tensor(image[key]) for key in ('gt', 'gt_labels')), ~torch.tensor(image['difficult'])
        gt, gt_labels = gt
        sample = dict(
            gt_instances=dict(bboxes=gt[kept].float(), labels=gt_labels[kept]),
            ignored_instances=dict(bboxes=gt[~kept].float(), labels=gt_labels[~kept]),
            pred_instances=dict(
                bboxes=torch.tensor(image['boxes']).float(),
                scores=torch.tensor(image['scores']).float(),
                labels=torch.tensor(image['labels']),
            ),
        )
        metric.process({}, [sample])
    return metric.evaluate(len(images))


@pytest.mark.parametrize('eval_mode, points, year', [('area', None, 'VOC2012'), ('11points', 11, 'VOC2007')])
@pytest.mark.parametrize('seed', range(3))
def test_map_is_that_of_the_definition(eval_mode, points, year, seed):
    images = draw_images(20, seed)
    with warnings.catch_warnings():
        # The metric warns where the year and the kind of AP do not belong together.
        warnings.simplefilter('error', UserWarning)
        found = evaluate(images, year, eval_mode=eval_mode)['pascal_voc/mAP']
    wanted = np.mean([average_precision(images, label, points) for label in range(len(CLASSES))])
    assert 0.2 < wanted < 0.9
    assert found == pytest.approx(wanted, abs=TOLERANCE)


def test_difficult_objects_are_neither_wanted_nor_wrong():
    images = draw_images(10, 5)
    easy = [dict(image, difficult=np.zeros(6, bool)) for image in images]
    assert evaluate(images, eval_mode='area')['pascal_voc/mAP'] != evaluate(easy, eval_mode='area')['pascal_voc/mAP']
    # Found and missed ones leave a perfect result perfect.
    perfect = [dict(image, boxes=image['gt'], labels=image['gt_labels'], scores=np.full(6, 0.9)) for image in images]
    only_easy = [
        dict(one, **{key: one[key][~one['difficult']] for key in ('boxes', 'labels', 'scores')}) for one in perfect
    ]
    for one in (perfect, only_easy):
        assert evaluate(one, eval_mode='area')['pascal_voc/mAP'] == pytest.approx(1, abs=TOLERANCE)


def test_the_last_pixel_belongs_to_a_box():
    """Half of 10 x 10 pixels is an IoU of 0.5 and a hit; without the last pixel it would be 0.44."""
    image = dict(
        gt=np.array([[0.0, 0, 9, 9]]),
        gt_labels=np.array([0]),
        difficult=np.array([False]),
        boxes=np.array([[0.0, 0, 9, 4]]),
        scores=np.array([0.5]),
        labels=np.array([0]),
    )
    assert evaluate([image], eval_mode='area')['pascal_voc/mAP'] == 1


def test_nothing_detected_is_an_ap_of_zero():
    images = draw_images(3, 0)
    empty = [dict(one, boxes=np.zeros((0, 4)), scores=np.zeros(0), labels=np.zeros(0, int)) for one in images]
    assert evaluate(empty, eval_mode='area')['pascal_voc/mAP'] == 0
