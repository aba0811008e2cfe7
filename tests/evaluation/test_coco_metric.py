"""COCO evaluation by faster_coco_eval has the numbers of pycocotools, on data that tries to tell the two apart."""

import contextlib
import io
import json
import sys

import mmdet.evaluation
import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink import evaluation
from rethink.datasets.coco_keypoint import PIXEL_CENTRE
from rethink.errors import ConfigError
from rethink.evaluation import coco, fast_coco  # noqa: F401
from rethink.evaluation.coco import CocoMetric

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


def predictions(rng, truth, categories, extra, scores, without=3):
    """Of each image but the first: its objects, moved or not and some twice, and boxes of nothing."""
    found = []
    for image in truth['images'][without:]:
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
        one = COCOeval(api, api.loadRes(results), metric)
        if metric != 'keypoints':
            one.params.maxDets = numbers
        one.params.catIds = categories  # as MMDetection, in the order of the file
        one.params.useCats = int(use_categories)
        one.evaluate()
        one.accumulate()
        one.summarize()
    return one


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
@pytest.mark.parametrize(
    ('ids', 'objects', 'extra', 'scores'),
    [
        ('counted', 8, 12, [0.5]),  # all scores are the same
        ('counted', 30, 60, np.linspace(0, 1, 1000)),  # more than count
        ('far apart, not in order', 8, 12, [0.1, 0.2, 0.5, 0.9]),
        ('beyond a double', 4, 4, [0.1, 0.2, 0.5, 0.9]),
        ('texts', 2, 2, [0.3, np.nan, -1, 2]),
    ],
)
def test_numbers_are_those_of_pycocotools(tmp_path, metric, ids, objects, extra, scores):
    rng = np.random.default_rng(0)
    images, categories = IDS[ids]
    truth = content(rng, images, categories, objects)
    found = predictions(rng, truth, categories, extra, scores)
    kind = 'CocoKeypointMetric' if metric == 'keypoints' else 'CocoMetric'
    ours = evaluated(built(tmp_path, truth, kind, metric=metric, proposal_nums=(20, 3, 7)), metric, found)
    theirs = oracle(tmp_path, truth, found, metric, [20, 3, 7])
    same(ours, theirs)
    assert (theirs.eval['precision'] == -1).any() and (theirs.eval['precision'] > 0).any()


@pytest.mark.parametrize('numbers', [(100, 300, 1000), (1, 10, 100), (2, 5, 9)])
def test_proposals_are_of_all_classes(tmp_path, numbers):
    rng = np.random.default_rng(4)
    truth = content(rng, *IDS['far apart, not in order'], 12)
    found = predictions(rng, truth, IDS['far apart, not in order'][1], 30, [0.1, 0.2])
    ours = evaluated(built(tmp_path, truth, metric='proposal', proposal_nums=numbers), 'proposal', found)
    same(ours, oracle(tmp_path, truth, found, 'bbox', list(numbers), use_categories=False))


@pytest.mark.parametrize('metric', ['bbox', 'segm', 'keypoints'])
def test_ids_that_are_none(tmp_path, metric):
    """An object with the id 0 counts as not matched in pycocotools, of two with one id the last counts twice."""
    rng = np.random.default_rng(5)
    truth = content(rng, *IDS['counted'], 8)
    for one, number in zip(truth['annotations'], [0, -7, 3, 3, 2**60, 2**60 + 1], strict=False):
        one.update(id=number, iscrowd=0)
    found = predictions(rng, truth, IDS['counted'][1], 5, np.linspace(0, 1, 1000))
    kind = 'CocoKeypointMetric' if metric == 'keypoints' else 'CocoMetric'
    ours = evaluated(built(tmp_path, truth, kind, metric=metric), metric, found)
    same(ours, oracle(tmp_path, truth, found, metric, [100, 300, 1000]))


@pytest.mark.parametrize(
    'options',
    [
        dict(metric=['bbox', 'segm'], classwise=True),
        dict(metric=['segm', 'proposal', 'bbox']),
        dict(metric_items=['mAP_s', 'AR_l@1000', 'mAP'], metric=['bbox', 'proposal']),
        dict(metric='bbox', iou_thrs=np.array([0.5, 0.6]), proposal_nums=[300, 1, 100]),
        dict(ann_file=None, metric='bbox', classwise=True),
    ],
)
def test_names_and_files_are_mmdetections(tmp_path, options):
    rng = np.random.default_rng(6)
    truth = content(rng, *IDS['counted'], 6)
    found = predictions(rng, truth, IDS['counted'][1], 9, np.linspace(0, 1, 500), without=0)
    results = []
    for one in found:
        own = [of for of in truth['annotations'] if of['image_id'] == one['img_id']]
        anns = [
            dict(bbox=[x, y, x + w, y + h], bbox_label=of['category_id'] - 1, ignore_flag=of['iscrowd'])
            for of in own
            for x, y, w, h in [of['bbox']]
        ]
        results.append((dict(img_id=one['img_id'], width=WIDTH, height=HEIGHT, anns=anns), one))
    init_default_scope('mmdet')
    (tmp_path / 'truth.json').write_text(json.dumps(truth))
    options = dict(ann_file=str(tmp_path / 'truth.json')) | options
    theirs = mmdet.evaluation.CocoMetric(outfile_prefix=str(tmp_path / 'theirs'), **options)
    ours = METRICS.build(dict(type='CocoMetric', outfile_prefix=str(tmp_path / 'ours'), **options))
    theirs.dataset_meta = ours.dataset_meta = dict(classes=[one['name'] for one in truth['categories']])
    assert type(ours) is CocoMetric
    values, wanted = ours.compute_metrics(results), theirs.compute_metrics(results)
    assert list(values) == list(wanted)
    np.testing.assert_array_equal(list(values.values()), list(wanted.values()))
    files = [file.name.removeprefix('theirs') for file in tmp_path.glob('theirs.*')]
    assert '.bbox.json' in files
    for name in files:
        if name != '.gt.json':  # which has the time
            assert (tmp_path / f'ours{name}').read_text() == (tmp_path / f'theirs{name}').read_text()


def test_nothing_is_written_without_a_prefix(tmp_path, monkeypatch):
    rng = np.random.default_rng(6)
    truth = content(rng, *IDS['counted'], 6)
    found = predictions(rng, truth, IDS['counted'][1], 9, [0.5])
    one = built(tmp_path, truth, metric=['bbox', 'segm', 'proposal'])
    monkeypatch.setattr(type(one), 'results2json', None)
    assert one.compute_metrics([({}, result) for result in found])['bbox_mAP'] >= 0


def test_classes_have_their_own_names_in_any_order(tmp_path):
    """MMDetection takes the order of the file for that of the ids."""
    truth = content(np.random.default_rng(7), [1, 2, 3, 4], [9, 2], 4)
    found = predictions(np.random.default_rng(7), truth, [9, 2], 1, [0.5])
    only = [one for one in truth['annotations'] if one['category_id'] == 9]
    assert only
    one = built(tmp_path, truth | dict(annotations=only), classwise=True)
    values = one.compute_metrics([({}, result) for result in found])
    assert values['class 9_precision'] >= 0 and np.isnan(values['class 2_precision'])


def messages(monkeypatch):
    said = []
    monkeypatch.setattr(coco, 'print_log', lambda text, *args, **kwargs: said.append(text))
    return said


@pytest.mark.parametrize('metric', ['bbox', 'keypoints'])
def test_what_is_not_a_number_is_for_pycocotools(tmp_path, monkeypatch, metric):
    rng, said = np.random.default_rng(8), messages(monkeypatch)
    truth = content(rng, *IDS['counted'], 6)
    found = predictions(rng, truth, IDS['counted'][1], 9, [0.5, 0.6])
    for one in found:
        one['bboxes'][:1] = np.nan
        one['keypoints'][:1] = np.nan
    kind = 'CocoKeypointMetric' if metric == 'keypoints' else 'CocoMetric'
    values = built(tmp_path, truth, kind, metric=metric).compute_metrics([({}, one) for one in found])
    assert len(said) == 1 and 'is not a number' in said[0]
    theirs = oracle(tmp_path, truth, found, metric, [100, 300, 1000])
    assert values[f'{metric}_mAP'] == round(float(theirs.stats[0]), 3)


def test_pycocotools_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(CocoMetric, '_evaluate', None)
    rng = np.random.default_rng(9)
    truth = content(rng, *IDS['counted'], 6)
    found = predictions(rng, truth, IDS['counted'][1], 9, [0.5, 0.6])
    for kind, metric in (('CocoMetric', 'bbox'), ('CocoKeypointMetric', 'keypoints')):
        one = built(tmp_path, truth, kind, metric=metric, backend='pycocotools')
        values = one.compute_metrics([({}, result) for result in found])
        stats = oracle(tmp_path, truth, found, metric, [100, 300, 1000]).stats
        assert values[f'{metric}_mAP'] == pytest.approx(stats[0], abs=5e-4)


def test_another_backend_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"backend='lvis'; set 'faster-coco-eval'"):
        CocoMetric(backend='lvis')


@pytest.mark.parametrize(
    ('version', 'why'), [(None, 'faster_coco_eval'), ('1.6.5', 'faster-coco-eval is 1.6.5, older than 1.8')]
)
def test_a_missing_package_is_said(monkeypatch, version, why):
    said = messages(monkeypatch)
    monkeypatch.delitem(sys.modules, 'rethink.evaluation.fast_coco')
    monkeypatch.delattr(evaluation, 'fast_coco')
    if version:
        monkeypatch.setattr('importlib.metadata.version', lambda name: version)
    else:
        monkeypatch.setitem(sys.modules, 'faster_coco_eval', None)
    assert CocoMetric().backend == 'pycocotools'
    assert len(said) == 1 and why in said[0] and 'pip install' in said[0]
    CocoMetric(backend='pycocotools')
    assert len(said) == 1


def test_images_that_are_not_annotated(tmp_path):
    truth = content(np.random.default_rng(10), [1, 2, 3, 4], [1, 2], 4)
    found = predictions(np.random.default_rng(10), truth, [1, 2], 4, [0.5])
    found = [one for one in found if len(one['labels'])]
    found[-1]['img_id'] = 77
    with pytest.raises(ConfigError, match=r"lack 1 of the images that were evaluated \('77'\)"):
        built(tmp_path, truth).compute_metrics([({}, one) for one in found])


def test_mmdetections_own_configs_get_it():
    init_default_scope('mmdet')
    assert METRICS.get('CocoMetric') is METRICS.get('mmdet.CocoMetric') is CocoMetric


def _samples(found):
    """What a detector gives of an image: masks are pixels."""
    for one in found:
        masks = mask.decode(one['masks']).transpose(2, 0, 1) if one['masks'] else np.zeros((0, HEIGHT, WIDTH))
        instances = dict(one, masks=masks.astype(bool))
        instances = {key: torch.from_numpy(instances[key]) for key in ('bboxes', 'scores', 'labels', 'masks')}
        yield dict(pred_instances=instances, img_id=one['img_id'], ori_shape=(HEIGHT, WIDTH))


def _one_of_two(rank, folder, truth, samples):
    torch.set_num_threads(1)  # a fork of a process whose threads have run would wait for them
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    (folder / str(rank)).mkdir()
    one = built(folder / str(rank), truth, metric=['bbox', 'segm'])
    one.process({}, (samples + samples[:1])[rank::2])  # as a distributed sampler deals them out
    assert all(isinstance(result['masks'], dict) for _, result in one.results if len(result['labels']))
    torch.save(one.evaluate(len(samples)), folder / f'{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_hand_masks_over_as_texts(tmp_path):
    rng = np.random.default_rng(11)
    truth = content(rng, list(range(1, 24)), [1, 2, 3], 6)
    samples = list(_samples(predictions(rng, truth, [1, 2, 3], 4, [0.2, 0.5, 0.7], without=0)))
    torch.multiprocessing.start_processes(_one_of_two, (tmp_path, truth, samples), 2, start_method='fork')
    alone = mmdet.evaluation.CocoMetric(ann_file=str(tmp_path / '0' / 'truth.json'), metric=['bbox', 'segm'])
    alone.dataset_meta = dict(classes=[category['name'] for category in truth['categories']])
    alone.process({}, samples)
    wanted = alone.evaluate(len(samples))
    assert 0 < wanted['coco/segm_mAP'] < 1
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pt', weights_only=False) == wanted


@pytest.mark.parametrize(
    'masks',
    [
        [],
        [dict(size=[4, 5], counts=[20])],
        [dict(size=[4, 5], counts='d0')],
        [dict(size=[4, 5], counts=b'd0'), dict(size=[2, 2], counts=b'40')],
    ],
)
def test_masks_of_another_form_stay_as_they_are(masks):
    assert coco._packed(masks) is masks
    assert coco._unpacked(dict(masks=masks)) == dict(masks=masks)
