"""Which detections are right, as pycocotools says, and which images are shown."""

import contextlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.analysis.class_ap import Annotations
from rethink.studies import gallery, study
from rethink.studies.plan import Plan
from test_answer import folder, write_images  # noqa: F401
from test_study import TOOLS


def boxes_near(random, boxes, number):
    """Some of the boxes, moved a little, and some anywhere."""
    near = boxes[random.integers(len(boxes), size=number)] + random.normal(0, 3, (number, 4))
    anywhere = np.column_stack([random.uniform(0, 60, (number, 2)), random.uniform(10, 40, (number, 2))])
    found = np.where(random.uniform(size=(number, 1)) < 0.7, near, anywhere)
    found[:, 2:] = found[:, 2:].clip(2)
    return found


@pytest.mark.parametrize('seed', range(8))
def test_detections_are_matched_as_pycocotools_matches_them(seed):
    random = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(1, 11):
        boxes = np.column_stack([random.uniform(0, 60, (6, 2)), random.uniform(10, 40, (6, 2))])
        for box in boxes:
            one = dict(id=len(objects) + 1, image_id=image, category_id=int(random.integers(1, 3)), bbox=box.tolist())
            objects.append(one | dict(area=float(box[2] * box[3]), iscrowd=int(random.uniform() < 0.2)))
        for box in boxes_near(random, boxes, 12):
            one = dict(image_id=image, category_id=int(random.integers(1, 3)), bbox=box.tolist())
            detections.append(one | dict(score=float(random.uniform())))
    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=image, width=100, height=100) for image in range(1, 11)],
        annotations=objects,
        categories=[dict(id=1, name='x'), dict(id=2, name='y')],
    )
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(detections), 'bbox')
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
    expected = {image: [0, 0, 0] for image in range(1, 11)}
    for one in judge.evalImgs[: 2 * 4 * 10]:
        if one is None or one['aRng'] != judge.params.areaRng[0]:
            continue
        counted = ~one['dtIgnore'][0].astype(bool)
        hits = (one['dtMatches'][0] > 0) & counted
        kept = ~np.array(one['gtIgnore']).astype(bool)
        expected[one['image_id']][0] += hits.sum()
        expected[one['image_id']][1] += (counted & ~hits).sum()
        expected[one['image_id']][2] += (kept & (one['gtMatches'][0] == 0)).sum()
    for image in expected:
        right, found = gallery.match(
            [one for one in objects if one['image_id'] == image],
            [one for one in detections if one['image_id'] == image],
        )
        assert [right.count(True), right.count(False), found.count(False)] == expected[image]


def test_f1_is_whole_where_there_is_nothing_to_find_and_nothing_is_found():
    assert gallery.f1_of([], []) == 1.0 and gallery.f1_of([None], [None]) == 1.0
    assert gallery.f1_of([], [False]) == 0.0 and gallery.f1_of([False], []) == 0.0
    assert gallery.f1_of([True, False], [True, False]) == pytest.approx(0.5)


def test_boxes_are_drawn_where_they_are():
    truth = Annotations('', {1: dict(name='<b>')}, {}, [])
    picture = gallery.draw(
        Image.new('RGB', (160, 120)), truth, [(dict(bbox=[40, 40, 60, 50], category_id=1, score=0.5), '#ffffff')]
    )
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert('L')).astype(int)
    assert pixels.shape == (240, 320)  # twice as large
    assert pixels[130, 80:82].min() > 150 and pixels[130, 199:201].min() > 150 and pixels[130, 120:160].max() < 60


def test_the_images_where_two_runs_differ_most_are_shown_and_what_is_gone_is_said(folder, monkeypatch):  # noqa: F811
    plan = Plan(study.read(folder), folder / 'out', TOOLS)
    found = write_images(folder, plan)
    shown = gallery.differing(plan)
    assert shown.runs == ('a', 'b') and sum(shown.ahead) == 12 and len(shown.pictures) == gallery.IMAGES
    gaps = [abs(one.f1[0] - one.f1[1]) for one in shown.pictures]
    assert gaps == sorted(gaps, reverse=True) and gaps[0] > 0
    # By the numbers of what was put there: every detection is right.
    for one in shown.pictures:
        image = int(one.name.removesuffix('.jpg'))
        for name, f1 in zip('ab', one.f1, strict=True):
            hits = sum(entry['image_id'] == image for entry in found[name])
            assert f1 == pytest.approx(100 * 2 * hits / (3 + hits))
    for file in (folder / 'images').iterdir():
        file.unlink()
    assert 'cannot be read' in gallery.differing(plan).why and not gallery.differing(plan).pictures
    (plan.task('b', 0).job.work_dir / 'predictions.bbox.json').write_text(json.dumps(found['a']))
    assert gallery.differing(plan).why.startswith('No image differs')
    (plan.task('b', 0).job.work_dir / 'predictions.bbox.json').write_text('[{')
    assert 'is not JSON' in gallery.differing(plan).why
    (plan.task('b', 0).job.work_dir / 'predictions.bbox.json').unlink()
    assert gallery.differing(plan).why == 'b has no predicted boxes.'
