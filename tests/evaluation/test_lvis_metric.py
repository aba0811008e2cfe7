"""AP of LVIS against the package lvis, on generated annotations with everything that sets LVIS apart from COCO."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from pycocotools import mask as rle
from rethink.evaluation.names import logged_names, unknown_items

lvis = pytest.importorskip('lvis')

HEIGHT, WIDTH, IMAGES = 160, 220, 24
FREQUENCY = 'rrcccffff'  # of the classes; there is no object of the second rare one


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    """An annotation file in the layout of LVIS v1: objects of all sizes, classes that images list or do not."""
    random = np.random.default_rng(0)
    images, objects = [], []
    classes = np.arange(len(FREQUENCY))
    for image in range(IMAGES):
        listed = random.permutation(classes)
        present = [one for one in listed[:4] if one != 1]
        images.append(
            dict(
                id=image + 1,
                coco_url=f'http://images.cocodataset.org/val2017/{image:012d}.jpg',
                height=HEIGHT,
                width=WIDTH,
                neg_category_ids=[int(one) + 1 for one in listed[4:6]],
                not_exhaustive_category_ids=[int(one) + 1 for one in present[:1]],
            )
        )
        for category in present:
            for _ in range(random.integers(1, 5)):
                box = random_box(random)
                segmentation = [outline(box)]
                objects.append(
                    dict(
                        id=len(objects) + 1,
                        image_id=image + 1,
                        category_id=int(category) + 1,
                        bbox=box,
                        segmentation=segmentation,
                        area=float(rle.area(encoded(segmentation))),
                    )
                )
    categories = [
        dict(id=index + 1, name=f'class {index}', frequency=one, image_count=5, instance_count=9)
        for index, one in enumerate(FREQUENCY)
    ]
    path = tmp_path_factory.mktemp('lvis') / 'lvis_v1_val.json'
    path.write_text(json.dumps(dict(images=images, annotations=objects, categories=categories)))
    return path


def random_box(random) -> list[float]:
    w, h = np.exp(random.uniform(np.log(8), np.log([WIDTH * 0.8, HEIGHT * 0.8])))
    return [float(random.uniform(0, WIDTH - w)), float(random.uniform(0, HEIGHT - h)), float(w), float(h)]


def outline(box) -> list[float]:
    """An octagon, which covers less than its box."""
    x, y, w, h = box
    angles = np.arange(8) * np.pi / 4
    points = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], 1)
    return [float(value) for value in points.ravel()]


def encoded(segmentation) -> dict:
    return rle.merge(rle.frPyObjects(segmentation, HEIGHT, WIDTH))


@pytest.fixture(scope='module')
def samples(annotations):
    """Predictions: objects moved a little, some of another class, and boxes of nothing; over 300 in one image."""
    random = np.random.default_rng(1)
    content = json.loads(annotations.read_text())
    found = []
    for image in content['images']:
        boxes, labels = [], []
        for one in content['annotations']:
            if one['image_id'] == image['id'] and random.uniform() < 0.9:
                w, h = one['bbox'][2:]
                boxes.append((np.array(one['bbox']) + random.normal(0, 0.06, 4) * [w, h, w, h]).tolist())
                labels.append(one['category_id'] - 1 if random.uniform() < 0.8 else random.integers(9))
        for _ in range(320 if image['id'] == 1 else 10):
            boxes.append(random_box(random))
            labels.append(random.integers(9))
        boxes = np.array(boxes)
        masks = np.stack([rle.decode(encoded([outline(box)])) for box in boxes]).astype(bool)
        boxes[:, 2:] += boxes[:, :2]
        # Some scores are equal.
        scores = np.round(random.uniform(size=len(boxes)), 2)
        instances = dict(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            scores=torch.tensor(scores, dtype=torch.float32),
            labels=torch.tensor(np.array(labels)),
            masks=torch.tensor(masks),
        )
        found.append(dict(img_id=image['id'], ori_shape=(HEIGHT, WIDTH), pred_instances=instances))
    return found


def build(annotations, **more):
    init_default_scope('mmdet')
    import rethink  # noqa: F401

    return METRICS.build(dict(type='FasterLVISMetric', ann_file=str(annotations), metric=['bbox', 'segm']) | more)


def evaluate(metric, samples) -> dict[str, float]:
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def oracle(annotations, detections, metric, monkeypatch):
    """The package itself, whose evaluation calls np.float."""
    monkeypatch.setattr(np, 'float', float, raising=False)
    truth = lvis.LVIS(str(annotations))
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, detections), metric)
    evaluation.run()
    return evaluation


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [
        ('FasterLVISMetric', dict()),
        ('FasterLVISMetric', dict(metric='bbox', metric_items=['AP', 'APr'], prefix='mine')),
        ('LVISMetric', dict()),
        ('LVISMetric', dict(metric='bbox', metric_items=['AP', 'AR@300'])),
        ('LVISMetric', dict(metric='proposal')),
    ],
)
def test_the_names_are_known_before(annotations, samples, kind, arguments, monkeypatch):
    monkeypatch.setattr(np, 'float', float, raising=False)
    arguments = dict(metric=['bbox', 'segm']) | arguments
    logged = evaluate(build(annotations, type=kind, **arguments), samples)
    known = logged_names(dict(type=kind, **arguments))
    assert sorted(known) == sorted(logged) and logged
    assert unknown_items(dict(type=kind, **arguments))[0] == []


@pytest.mark.parametrize('kind', ['FasterLVISMetric', 'LVISMetric'])
def test_items_of_coco_are_not_logged_and_that_is_known(annotations, samples, kind, monkeypatch):
    monkeypatch.setattr(np, 'float', float, raising=False)
    asked = dict(metric='bbox', metric_items=['mAP_50', 'AP'])
    assert list(evaluate(build(annotations, type=kind, **asked), samples)) == ['lvis/bbox_AP']
    assert unknown_items(dict(type=kind, **asked))[0] == ['mAP_50']


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_it_is_the_ap_of_the_package(annotations, samples, kind, monkeypatch, tmp_path):
    prefix = tmp_path / 'results'
    metric = build(annotations, metric=kind, outfile_prefix=str(prefix), classwise=True)
    found = evaluate(metric, samples)
    detections = json.loads((tmp_path / f'results.{kind}.json').read_text())
    if kind == 'segm':
        for one in detections:
            del one['bbox']
    expected = oracle(annotations, [dict(one) for one in detections], kind, monkeypatch)
    results = expected.get_results()
    assert 0.05 < results['APr'] < 1 and len({round(results[f'AP{part}'], 6) for part in 'rcfsml'}) == 6
    of_classes, of_all = metric.evaluate_detections(detections, kind)
    for name, value in of_all.items():
        assert value == pytest.approx(results[name], abs=1e-9), name
        assert found[f'lvis/{kind}_{name}'] == round(value, 3)
    precision = expected.eval['precision'][:, :, :, 0]
    for index, (name, value) in enumerate(of_classes.items()):
        there = precision[:, :, index]
        assert name == f'class {index}'
        assert value == pytest.approx(
            there[there > -1].mean() if (there > -1).any() else np.nan, abs=1e-9, nan_ok=True
        )
    assert np.isnan(of_classes['class 1']) and sum(map(np.isnan, of_classes.values())) == 1


def test_each_rule_of_lvis_counts(annotations, samples):
    """Without what an image lists, the numbers are others: the comparison above is not one of COCO's AP."""
    whole = evaluate(build(annotations), samples)
    content = json.loads(annotations.read_text())
    for key, value in (('neg_category_ids', list(range(1, 10))), ('not_exhaustive_category_ids', [])):
        for image in content['images']:
            image[key] = value
        changed = annotations.with_name(f'without_{key}.json')
        changed.write_text(json.dumps(content))
        assert evaluate(build(changed), samples)['lvis/bbox_AP'] < whole['lvis/bbox_AP']


def test_where_nothing_is_found_ap_is_zero(annotations):
    empty = dict(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.long),
        masks=torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool),
    )
    sample = dict(img_id=1, ori_shape=(HEIGHT, WIDTH), pred_instances=empty)
    found = evaluate(build(annotations), [sample])
    assert found['lvis/bbox_AP'] == found['lvis/segm_APf'] == 0


def test_other_metrics_are_refused(annotations):
    with pytest.raises(ValueError, match="'bbox' and 'segm', not proposal"):
        build(annotations, metric=['bbox', 'proposal'])
