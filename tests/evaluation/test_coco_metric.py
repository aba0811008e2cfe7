"""COCO evaluation by faster_coco_eval has the numbers of pycocotools, on data that tries to tell the two apart."""

import contextlib
import io
import json

import numpy as np
import pytest
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.datasets.coco_keypoint import PIXEL_CENTRE

HEIGHT, WIDTH = 120, 160
EQUAL = dict(rtol=0, atol=1e-12)


def outline(box):
    """A polygon with six corners inside a box, as COCO has it."""
    x, y, w, h = box
    points = [(0.2, 0), (0.8, 0), (1, 0.5), (0.8, 1), (0.2, 1), (0, 0.5)]
    return [value for dx, dy in points for value in (x + dx * w, y + dy * h)]


def boxes(rng, many):
    """Many are of the sizes at which small objects end, and some have no width."""
    size = rng.choice([0, 1, 16, 31.9, 32, 32.1, 64, 96, 100], (many, 2))
    return np.round(np.concatenate([rng.random((many, 2)) * (WIDTH - 100, HEIGHT - 60), size], 1), 1)


def keypoints(rng, box):
    return box[:2] + rng.random((17, 2)) * box[2:]


def content(rng, images, categories, objects):
    """Annotations of some images; some have none, some only crowds, and there are twins."""
    annotations = []
    for image in images[: len(images) * 3 // 4]:
        for box in boxes(rng, rng.integers(0, objects)):
            crowd, number = int(rng.random() < 0.2), len(annotations) + 1
            seen = rng.integers(0, 3, (17, 1)) * (rng.random() < 0.8)
            one = dict(
                id=number * 10**6 + 7, image_id=image, category_id=categories[rng.integers(len(categories) - 1)]
            )
            one |= dict(bbox=box.tolist(), area=float(box[2] * box[3]), iscrowd=crowd, segmentation=[outline(box)])
            one |= dict(keypoints=np.concatenate([keypoints(rng, box), seen], 1).round(2).ravel().tolist())
            annotations.append(one | dict(num_keypoints=int((seen > 0).sum())))
            if rng.random() < 0.1:
                annotations.append(annotations[-1] | dict(id=number * 10**6 + 8))
    return dict(
        images=[dict(id=image, height=HEIGHT, width=WIDTH, file_name=f'{image}.jpg') for image in images],
        categories=[dict(id=one, name=f'class {one}') for one in categories],
        annotations=annotations,
    )


def predictions(rng, truth, categories, extra, scores):
    """Of each image but some: objects that are moved or not, and boxes of nothing, with few different scores."""
    found = []
    for image in truth['images'][len(truth['images']) // 8 :]:
        own = [one for one in truth['annotations'] if one['image_id'] == image['id']]
        near = np.array([one['bbox'] for one in own]).reshape(-1, 4)
        moved = near + rng.choice([0, 0, 1, 3], near.shape) * (1, 1, 0, 0)
        box = np.concatenate([near[:2], moved, boxes(rng, rng.integers(0, extra))])
        labels = [categories.index(one['category_id']) for one in own]
        labels = [*labels[:2], *labels, *rng.integers(0, len(categories), len(box))][: len(box)]
        points = [np.reshape(one['keypoints'], (17, 3))[:, :2] for one in own]
        points = [*points[:2], *points, *(keypoints(rng, one) for one in box)][: len(box)]
        points = np.array(points).reshape(-1, 17, 2)
        points += rng.normal(size=points.shape) * rng.choice([0, 1, 4], (len(box), 1, 1))
        drawn = [outline(one) for one in box]
        found.append(
            dict(
                img_id=image['id'],
                bboxes=np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], 1).astype(np.float32),
                scores=rng.choice(scores, len(box)).astype(np.float32),
                labels=np.array(labels, int),
                masks=mask.frPyObjects(drawn, HEIGHT, WIDTH) if drawn else [],
                keypoints=(points + PIXEL_CENTRE).astype(np.float32),
            )
        )
    return found


def built(tmp_path, truth, kind='CocoMetric', **options):
    init_default_scope('mmdet')
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    one = METRICS.build(dict(type=kind, ann_file=str(tmp_path / 'truth.json'), **options))
    one.dataset_meta = dict(classes=[category['name'] for category in truth['categories']])
    return one


def oracle(tmp_path, truth, found, metric, numbers, use_categories=True):
    """pycocotools, of detections in the form of its results files."""
    (tmp_path / 'oracle.json').write_text(json.dumps(truth))
    categories, results = [one['id'] for one in truth['categories']], []
    for image in found:
        for at, label in enumerate(image['labels']):
            one = dict(image_id=image['img_id'], category_id=categories[label], score=float(image['scores'][at]))
            x, y, right, bottom = image['bboxes'][at].tolist()
            if metric == 'bbox':
                one['bbox'] = [x, y, right - x, bottom - y]
            elif metric == 'segm':
                one['segmentation'] = image['masks'][at]
            else:
                points = (image['keypoints'][at] - PIXEL_CENTRE).tolist()
                one['keypoints'] = [value for x, y in points for value in (x, y, 1)]
            results.append(one)
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(tmp_path / 'oracle.json'))
        evaluation = COCOeval(api, api.loadRes(results), metric)
        if metric != 'keypoints':
            evaluation.params.maxDets = numbers
        evaluation.params.useCats = int(use_categories)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def evaluated(metric, name, found):
    metric._read(())
    return metric._evaluate(name, tuple(found))


def same(ours, theirs):
    for key in ('precision', 'recall', 'scores'):
        np.testing.assert_allclose(ours.eval[key], theirs.eval[key], **EQUAL)
    np.testing.assert_allclose(ours.stats, theirs.stats, **EQUAL)


IDS = {
    'counted': (list(range(1, 25)), [1, 2, 3, 4]),
    'far apart, not in order': ([2**40 + 3 * at for at in range(24)][::-1], [2**35, 5, 90, 7]),
    'beyond a double': ([2**60 + at for at in range(24)], [3, 1, 2, 4]),
    'texts': ([f'image {at}' for at in range(24)], [1, 2, 3, 4]),
}


@pytest.mark.parametrize('metric', ['bbox', 'segm', 'keypoints'])
@pytest.mark.parametrize('ids', IDS)
@pytest.mark.parametrize(
    ('seed', 'objects', 'extra', 'scores'),
    [
        (0, 8, 12, [0.5]),  # all scores are the same
        (1, 8, 12, [0.1, 0.2, 0.5, 0.9]),
        (2, 30, 60, np.linspace(0, 1, 1000)),  # more than count
        (3, 2, 2, [0.3, np.nan, -1, 2]),
    ],
)
def test_numbers_are_those_of_pycocotools(tmp_path, metric, ids, seed, objects, extra, scores):
    rng = np.random.default_rng(seed)
    images, categories = IDS[ids]
    truth = content(rng, images, categories, objects)
    found = predictions(rng, truth, categories, extra, scores)
    kind = 'CocoKeypointMetric' if metric == 'keypoints' else 'CocoMetric'
    ours = evaluated(built(tmp_path, truth, kind, metric=metric, proposal_nums=(20, 3, 7)), metric, found)
    theirs = oracle(tmp_path, truth, found, metric, [20, 3, 7])
    same(ours, theirs)
    assert 0 < theirs.stats[1] < 1 or metric == 'keypoints' or 100 not in theirs.params.maxDets
    assert (theirs.eval['precision'] == -1).any() and (theirs.eval['precision'] > 0).any()
