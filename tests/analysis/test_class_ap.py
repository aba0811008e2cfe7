"""AP of each class and size: against pycocotools on all classes at once, the lvis package, and numbers by hand."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.analysis import class_ap
from rethink.errors import ConfigError

SIDE = 256


def rle(box) -> dict:
    """An ellipse inside a box, as MMDetection writes masks."""
    x, y, w, h = box
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside = ((columns - x - w / 2) / max(w, 1)) ** 2 + ((rows - y - h / 2) / max(h, 1)) ** 2 <= 0.25
    encoded = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return dict(size=encoded['size'], counts=encoded['counts'].decode())


def random_box(rng) -> list[float]:
    w, h = np.exp(rng.uniform(np.log(12), np.log(220), 2))
    return [float(rng.uniform(0, SIDE - w)), float(rng.uniform(0, SIDE - h)), float(w), float(h)]


def generate(seed: int = 0, images: int = 30, classes: int = 6, lvis: bool = False) -> tuple[dict, list[dict]]:
    """Annotations and detections with masks: objects found, missed, misplaced and invented, at any size.

    The last class has no object; category ids have gaps, as COCO's.
    """
    rng = np.random.default_rng(seed)
    categories = [dict(id=3 * number + 2, name=f'class {number}') for number in range(classes)]
    ids = [category['id'] for category in categories]
    content = dict(images=[], annotations=[], categories=categories)
    found = []
    for number in range(images):
        image = dict(id=100 + number, file_name=f'{number}.jpg', width=SIDE, height=SIDE)
        for _ in range(rng.integers(1, 7)):
            box, category = random_box(rng), int(rng.choice(ids[:-1]))
            crowd = not lvis and rng.random() < 0.1
            mask = rle(box)
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=image['id'],
                    category_id=category,
                    bbox=box,
                    area=float(coco_mask.area(mask)),
                    segmentation=mask,
                    iscrowd=int(crowd),
                )
            )
            for _ in range(rng.integers(0, 3)):
                moved = [float(value + rng.normal() * 0.08 * box[2 + at % 2]) for at, value in enumerate(box)]
                label = category if rng.random() < 0.9 else int(rng.choice(ids))
                found.append(detection(image['id'], label, moved, rng))
        for _ in range(3):
            found.append(detection(image['id'], int(rng.choice(ids)), random_box(rng), rng))
        if lvis:
            image['neg_category_ids'] = [one for one in ids if rng.random() < 0.4]
            image['not_exhaustive_category_ids'] = [one for one in ids if rng.random() < 0.3]
        content['images'].append(image)
    if lvis:
        for category, frequency in zip(categories, 'rrccff', strict=True):
            category['frequency'] = frequency
    return content, found


def detection(image: int, category: int, box: list[float], rng) -> dict:
    # Two digits, so that some scores are equal.
    score = round(float(rng.random()), 2)
    return dict(image_id=image, category_id=category, bbox=box, score=score, segmentation=rle(box))


def write(folder, content, found) -> tuple[class_ap.Annotations, list[dict]]:
    (folder / 'truth.json').write_text(json.dumps(content))
    (folder / 'found.json').write_text(json.dumps(found))
    truth = class_ap.read_annotations(folder / 'truth.json')
    return truth, class_ap.read_results(folder / 'found.json', truth)


def without_boxes(found: list[dict]) -> list[dict]:
    """As MMDetection's CocoMetric does before it evaluates masks, so that the size is the mask's."""
    return [{key: value for key, value in one.items() if key != 'bbox'} for one in found]


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_coco_equals_pycocotools_on_all_classes_at_once(tmp_path, iou_type):
    content, found = generate()
    truth, read = write(tmp_path, content, found)
    mine = class_ap.class_ap(truth, read, iou_type)

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / 'truth.json')
        evaluation = COCOeval(coco, coco.loadRes(without_boxes(found) if iou_type == 'segm' else found), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision'][..., -1]
    for row in range(6):
        for size in range(4):
            values = precision[:, :, row, size]
            wanted = 100 * values[values > -1].mean() if (values > -1).any() else np.nan
            np.testing.assert_allclose(mine[row, size], wanted, rtol=1e-12)
    # The mean over the classes is what a training logs, of all sizes and each; the last class has no object.
    np.testing.assert_allclose(np.nanmean(mine, 0), 100 * evaluation.stats[[0, 3, 4, 5]], rtol=1e-12)
    assert np.isnan(mine[-1]).all() and 5 < mine[:-1, 0].min() < mine[:-1, 0].max() < 90


def test_keypoints_have_no_small_ones(tmp_path):
    rng = np.random.default_rng(0)
    people, found = [], []
    for image in range(1, 31):
        side = float(rng.choice([40, 80, 150]))  # pixels: medium, medium, large
        points = rng.uniform(0, side, (17, 2)).round(2)
        moved = points + rng.normal(size=(17, 2)) * 0.08 * side
        shared = dict(image_id=image, category_id=1)
        visible = [[*point, 2] for point in points.tolist()]
        people.append(
            dict(
                shared, id=image, iscrowd=0, bbox=[0, 0, side, side], area=side**2,
                keypoints=sum(visible, []), num_keypoints=17,
            )
        )  # fmt: skip
        found.append(
            dict(shared, keypoints=sum(([*point, 1] for point in moved.tolist()), []), score=float(rng.random()))
        )
    images = [dict(id=image, width=200, height=200, file_name=f'{image}.jpg') for image in range(1, 31)]
    content = dict(images=images, annotations=people, categories=[dict(id=1, name='person')])
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    (tmp_path / 'found.json').write_text(json.dumps(found))
    truth = class_ap.read_annotations(tmp_path / 'truth.json')
    mine = class_ap.class_ap(truth, class_ap.read_results(tmp_path / 'found.json', truth, 'keypoints'), 'keypoints')
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / 'truth.json')
        evaluation = COCOeval(coco, coco.loadRes(found), 'keypoints')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    whole, medium, large = 100 * evaluation.stats[[0, 3, 4]]
    assert 10 < medium < 90 and 10 < large < 90 and abs(medium - large) > 1
    np.testing.assert_allclose(mine, [[whole, np.nan, medium, large]], rtol=1e-12)


def test_a_prediction_that_is_no_number_is_evaluated_by_pycocotools_and_said(tmp_path, capsys):
    content, found = generate()
    truth, read = write(tmp_path, content, found)
    capsys.readouterr()
    for one in read[:4]:  # of the first image, some of classes that it has
        one['bbox'] = [float('nan')] * 4
    mine = class_ap.class_ap(truth, read, 'bbox')
    assert 'A prediction is not a number' in capsys.readouterr().out

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(tmp_path / 'truth.json')
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(read)), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    np.testing.assert_allclose(np.nanmean(mine, 0), 100 * evaluation.stats[[0, 3, 4, 5]], rtol=1e-12)


def test_a_class_by_itself_equals_pycocotools_on_a_file_of_it_alone(tmp_path):
    content, found = generate(1)
    truth, read = write(tmp_path, content, found)
    mine = class_ap.class_ap(truth, read)
    for row, category in enumerate(content['categories'][:-1]):
        alone = dict(content, categories=[category])
        alone['annotations'] = [one for one in content['annotations'] if one['category_id'] == category['id']]
        (tmp_path / 'alone.json').write_text(json.dumps(alone))
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(tmp_path / 'alone.json')
            dets = coco.loadRes([dict(one) for one in found if one['category_id'] == category['id']])
            evaluation = COCOeval(coco, dets, 'bbox')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        np.testing.assert_allclose(mine[row], 100 * evaluation.stats[[0, 3, 4, 5]], rtol=1e-12)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_lvis_equals_the_lvis_package(tmp_path, monkeypatch, iou_type):
    lvis = pytest.importorskip('lvis')
    # The package asks for a name that numpy 1.24 took away.
    monkeypatch.setattr(np, 'float', float, raising=False)
    content, found = generate(2, lvis=True)
    truth, read = write(tmp_path, content, found)
    mine = class_ap.class_ap(truth, read, iou_type, lvis=True)

    theirs = lvis.LVIS(str(tmp_path / 'truth.json'))
    given = copy.deepcopy(without_boxes(found) if iou_type == 'segm' else found)
    evaluation = lvis.LVISEval(theirs, lvis.LVISResults(theirs, given), iou_type)
    evaluation.run()
    for row in range(6):
        for size in range(4):
            values = evaluation.eval['precision'][:, :, row, size]
            wanted = 100 * values[values > -1].mean() if (values > -1).any() else np.nan
            np.testing.assert_allclose(mine[row, size], wanted, rtol=1e-9)
    summary = [100 * evaluation.get_results()[name] for name in ('AP', 'APs', 'APm', 'APl')]
    np.testing.assert_allclose(np.nanmean(mine, 0), summary, rtol=1e-9)
    # What federation leaves out matters here: COCO's evaluation gives other numbers.
    for image in truth.images.values():
        del image['neg_category_ids']
    assert (class_ap.class_ap(truth, read, iou_type)[:-1, 0] < mine[:-1, 0]).all()


def test_what_mmdetection_writes_has_the_numbers_that_it_logs(tmp_path):
    """CocoMetric's own files, of boxes and of masks, and its own means over the classes."""
    content, found = generate(3)
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    names = tuple(category['name'] for category in content['categories'])
    metric = CocoMetric(str(tmp_path / 'truth.json'), ['bbox', 'segm'], outfile_prefix=str(tmp_path / 'run'))
    metric.dataset_meta = dict(classes=names)
    labels = {category['id']: label for label, category in enumerate(content['categories'])}
    for image in content['images']:
        of = [one for one in found if one['image_id'] == image['id']]
        boxes = torch.tensor([one['bbox'] for one in of], dtype=torch.float64)
        boxes[:, 2:] += boxes[:, :2]
        masks = [torch.from_numpy(coco_mask.decode(one['segmentation'])) > 0 for one in of]
        instances = dict(
            bboxes=boxes,
            scores=torch.tensor([one['score'] for one in of]),
            labels=torch.tensor([labels[one['category_id']] for one in of]),
            masks=torch.stack(masks),
        )
        metric.process({}, [dict(img_id=image['id'], ori_shape=(SIDE, SIDE), pred_instances=instances)])
    logged = metric.evaluate(len(content['images']))
    truth = class_ap.read_annotations(tmp_path / 'truth.json')
    for iou_type in ('bbox', 'segm'):
        read = class_ap.read_results(tmp_path / f'run.{iou_type}.json', truth, iou_type)
        mine = np.nanmean(class_ap.class_ap(truth, read, iou_type), 0) / 100
        theirs = [logged[f'coco/{iou_type}_mAP{end}'] for end in ('', '_s', '_m', '_l')]
        np.testing.assert_allclose(mine, theirs, atol=0.00051)  # it logs three digits
    assert len(read) == len(found)


def test_lvis_counts_300_detections_of_an_image(tmp_path, monkeypatch):
    """Of one image with 310 detections, the ten right ones have the lowest scores: they do not count."""
    boxes = [[10.0 * at, 10.0, 8.0, 8.0] for at in range(10)]
    content = dict(
        images=[dict(id=1, width=SIDE, height=SIDE, neg_category_ids=[], not_exhaustive_category_ids=[])],
        annotations=[dict(id=at + 1, image_id=1, category_id=1, bbox=box, area=64) for at, box in enumerate(boxes)],
        categories=[dict(id=1, name='one', frequency='r'), dict(id=2, name='other', frequency='f')],
    )
    right = [dict(image_id=1, category_id=1, bbox=box, score=0.1) for box in boxes]
    # Of a class for which the image was not searched: wrong or not is not known, yet they count towards the 300.
    other = [dict(image_id=1, category_id=2, bbox=boxes[0], score=0.9)] * 300
    for more, wanted in ((0, 100), (295, 50), (300, 0)):
        truth, read = write(tmp_path, content, right + other[:more])
        ap = class_ap.class_ap(truth, read, lvis=True)
        # With half of the objects found, precision is 1 up to a recall of 0.5: 51 of 101 thresholds.
        np.testing.assert_allclose(ap[0, :2], 100 * 51 / 101 if wanted == 50 else wanted)
        assert np.isnan(ap[1]).all()


def test_by_hand(tmp_path):
    """Two objects of a class, one found; a class whose object was not looked for; ids that count from 0."""
    content = dict(
        images=[dict(id=0, width=SIDE, height=SIDE)],
        annotations=[
            dict(id=0, image_id=0, category_id=0, bbox=[0, 0, 20, 20], area=400),
            dict(id=1, image_id=0, category_id=0, bbox=[50, 50, 40, 40], area=1600),
            dict(id=2, image_id=0, category_id=1, bbox=[0, 0, 20, 20], area=400),
        ],
        categories=[dict(id=0, name='half'), dict(id=1, name='none'), dict(id=2, name='absent')],
    )
    # IoU 0.9 with its object: right at 9 of the 10 thresholds.
    truth, read = write(tmp_path, content, [dict(image_id=0, category_id=0, bbox=[0, 0, 20, 18], score=0.5)])
    ap = class_ap.class_ap(truth, read)
    half = 100 * 0.9 * 51 / 101
    np.testing.assert_allclose(ap[0], [half, 90, 0, np.nan], rtol=1e-12)
    np.testing.assert_allclose(ap[1], [0, 0, np.nan, np.nan])
    assert np.isnan(ap[2]).all()
    assert [dict(one) for one in truth.counts()] == [{0: 2, 1: 1}, {0: 1, 1: 1}]


def test_masks_are_left_away_where_they_are_not_needed(tmp_path):
    content, _ = generate()
    (tmp_path / 'truth.json').write_text(json.dumps(content))
    whole = class_ap.read_annotations(tmp_path / 'truth.json')
    boxes = class_ap.read_annotations(tmp_path / 'truth.json', masks=False)
    assert whole.objects == content['annotations'] and boxes.counts() == whole.counts()
    assert boxes.objects == [{key: one[key] for key in one if key != 'segmentation'} for one in whole.objects]


# --- wrong input -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp('files')
    content, found = generate()
    (folder / 'truth.json').write_text(json.dumps(content))
    return folder, content, found


def reading(folder, found, iou_type='bbox') -> str:
    """The sentence with which a results file, JSON or text, is refused."""
    (folder / 'found.json').write_text(found if isinstance(found, str) else json.dumps(found))
    with pytest.raises(ConfigError) as error:
        class_ap.read_results(folder / 'found.json', class_ap.read_annotations(folder / 'truth.json'), iou_type)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_results_of_another_data_set(files):
    folder, _, found = files
    moved = [dict(found[0], image_id=7), *found[1:]]
    assert '1 of them (7) are not in' in reading(folder, moved) and 'another data set' in reading(folder, moved)
    labels = [dict(one, category_id=one['category_id'] + 1) for one in found]
    assert 'in 6 categories, and 6 of them (3, 6, 9, 12 …) are not in' in reading(folder, labels)
    outside = [dict(one, bbox=[SIDE + 5, 0, 10, 10]) for one in found]
    assert f'none of the {len(found)} boxes' in reading(folder, outside)


def test_what_is_no_results_file(files):
    folder, content, found = files
    assert 'holds no detection' in reading(folder, [])
    assert 'is an annotation file, not a results file; write it with' in reading(folder, content)
    assert 'no list of detections' in reading(folder, [1, 2])
    assert 'is not JSON, or only the beginning of it' in reading(folder, json.dumps(found)[:1000])
    assert 'without score' in reading(folder, [{key: one[key] for key in one if key != 'score'} for one in found])
    boxes = [{key: one[key] for key in one if key != 'segmentation'} for one in found]
    assert 'so it has no segm results' in reading(folder, boxes, 'segm')
    assert 'did the training diverge?' in reading(folder, [dict(found[0], score=float('nan'))])
    assert 'did the training diverge?' in reading(folder, [dict(found[0], bbox=[1, 2, 3])])
    with pytest.raises(ConfigError, match='results file .*none.json does not exist'):
        class_ap.read_results(folder / 'none.json', class_ap.read_annotations(folder / 'truth.json'))


def test_what_is_no_annotation_file(tmp_path):
    content, _ = generate(images=3)

    def refused(**changes) -> str:
        (tmp_path / 'a.json').write_text(json.dumps(content | changes))
        with pytest.raises(ConfigError) as error:
            class_ap.read_annotations(tmp_path / 'a.json')
        return str(error.value)

    assert 'has no list of categories' in refused(categories=None)
    assert 'one of the two is not in the file' in refused(categories=content['categories'][:1])
    assert "two categories of one name ('a')" in refused(
        categories=[dict(one, name='a') for one in content['categories']]
    )
    assert "lacks 'name'" in refused(categories=[dict(id=one['id']) for one in content['categories']])


def test_kinds_of_annotations(tmp_path):
    def checked(content, **arguments):
        (tmp_path / 'a.json').write_text(json.dumps(content))
        class_ap.check_kind(class_ap.read_annotations(tmp_path / 'a.json'), **arguments)

    coco, lvis = generate(images=3)[0], generate(images=3, lvis=True)[0]
    checked(coco, lvis=False, iou_type='segm')
    checked(lvis, lvis=True, iou_type='segm')
    with pytest.raises(ConfigError, match='is no LVIS file'):
        checked(coco, lvis=True, iou_type='bbox')
    with pytest.raises(ConfigError, match='add --lvis'):
        checked(lvis, lvis=False, iou_type='bbox')
    boxes = [{key: one[key] for key in one if key != 'segmentation'} for one in coco['annotations']]
    with pytest.raises(ConfigError, match='annotation without segmentation .* which segm AP needs'):
        checked(dict(coco, annotations=boxes), lvis=False, iou_type='segm')
    with pytest.raises(ConfigError, match='has no annotated object'):
        checked(dict(coco, annotations=[]), lvis=False, iou_type='bbox')


@pytest.mark.parametrize(('lvis', 'package'), [(False, 'pycocotools'), (True, 'faster-coco-eval')])
def test_a_package_that_is_not_there(tmp_path, monkeypatch, lvis, package):
    truth, read = write(tmp_path, *generate(images=3, lvis=lvis))

    def missing(name, *arguments):
        raise ImportError(f'No module named {name!r}')

    monkeypatch.setattr(class_ap.importlib, 'import_module', missing)
    with pytest.raises(ConfigError, match=f'pip install {package}'):
        class_ap.class_ap(truth, read, lvis=lvis)
