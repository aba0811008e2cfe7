"""Intervals over images: exact on every draw, and as often right as they say."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.analysis.bootstrap import draws, interval, read_matches, resample, student
from rethink.errors import ConfigError
from scipy import stats

NAMES = ('', '_50', '_75', '_s', '_m', '_l')


def scene(random: np.random.Generator, image: int, classes: int, skills: dict[str, float]) -> tuple[list, dict]:
    """Objects of an image, some of them crowds, and what detectors of some skill find, with misses and wrong ones."""
    objects, found = [], {name: [] for name in skills}
    hard = random.uniform(-0.3, 0.3)  # for all detectors alike

    def box() -> list[float]:
        side = random.choice([12.0, 50.0, 150.0]) * random.uniform(0.8, 1.2, 2)
        return [*random.uniform(0, 300, 2), *side]

    for _ in range(random.integers(0, 5)):
        category, where = int(random.integers(1, classes + 1)), box()
        objects.append(dict(image_id=image, category_id=category, bbox=where, iscrowd=int(random.uniform() < 0.1)))
        for name, skill in skills.items():
            for _ in range(random.integers(1, 3)):
                if random.uniform() < skill - hard:
                    moved = np.array(where) + random.normal(0, 0.08 * (1.2 - skill) * min(where[2:]), 4)
                    found[name].append(dict(category_id=category, bbox=moved, score=random.uniform(0.3, 1)))
    for name, skill in skills.items():
        for _ in range(random.poisson(2 * (1 - skill))):
            category = int(random.integers(1, classes + 1))
            found[name].append(dict(category_id=category, bbox=np.array(box()), score=random.uniform(0, 0.9)))
    return objects, found


def shapes(one: dict, kind: str) -> dict:
    x, y, width, height = (float(value) for value in one['bbox'])
    width, height = max(width, 1.0), max(height, 1.0)
    one = dict(one, bbox=[x, y, width, height])
    if kind == 'segm':
        polygon = [x, y, x + width, y, x + width, y + height, x + 0.3 * width, y + height]
        encoded = mask.merge(mask.frPyObjects([polygon], 512, 512))
        one['segmentation'] = dict(encoded, counts=encoded['counts'].decode())
        del one['bbox']
    if kind == 'keypoints':
        points = np.stack([x + width * np.linspace(0, 1, 17), y + height * np.linspace(0, 1, 17), np.full(17, 2)], 1)
        one['keypoints'] = [float(value) for value in points.ravel()]
        del one['bbox']
    return one


def write(folder, images: int, kind: str = 'bbox', classes: int = 3, seed: int = 0, **skills: float) -> dict:
    """An annotation file and a results file for each detector."""
    random = np.random.default_rng(seed)
    classes = 1 if kind == 'keypoints' else classes
    objects, found = [], {name: [] for name in skills}
    for image in range(1, images + 1):
        own, detected = scene(random, image, classes, skills)
        for one in own:
            whole = shapes(one, kind)
            area = one['bbox'][2] * one['bbox'][3]
            whole |= dict(id=len(objects) + 1, area=area, bbox=one['bbox'])
            if kind == 'keypoints':
                whole['num_keypoints'] = 17
            objects.append(whole)
        for name, many in detected.items():
            # Two digits: detections of several images have the same score, but no two of one image.
            scores = random.permutation(np.round(np.linspace(0.99, 0.01, 99), 2))[: len(many)]
            scores = sorted(map(float, scores))
            many = sorted(many, key=lambda one: one['score'])
            found[name] += [
                dict(shapes(one, kind), image_id=image, score=score) for one, score in zip(many, scores, strict=True)
            ]
    # One class that no image has.
    names = [dict(id=number, name=f'class {number}') for number in range(1, classes + 2)]
    pictures = [dict(id=image, width=512, height=512, file_name=f'{image}.jpg') for image in range(1, images + 1)]
    truth = dict(images=pictures, annotations=objects, categories=names)
    (folder / 'truth.json').write_text(json.dumps(truth))
    for name, many in found.items():
        (folder / f'{name}.{kind}.json').write_text(json.dumps(many))
    return dict(truth=truth, **found)


def brute_force(truth: dict, found: list[dict], drawn: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools on files in which an image is there as often as it was drawn: its summary, and AP of each class."""
    images, objects, detections = [], [], []
    for image, times in zip(truth['images'], drawn.astype(int), strict=True):
        for _ in range(times):
            number = len(images) + 1
            images.append(dict(image, id=number))
            for one in truth['annotations']:
                if one['image_id'] == image['id']:
                    objects.append(dict(one, id=len(objects) + 1, image_id=number))
            detections += [dict(one, image_id=number) for one in found if one['image_id'] == image['id']]
    with contextlib.redirect_stdout(io.StringIO()):
        side = COCO()
        side.dataset = dict(truth, images=images, annotations=objects, info={})
        side.createIndex()
        evaluated = COCOeval(side, side.loadRes(detections), kind)
        evaluated.evaluate()
        evaluated.accumulate()
        evaluated.summarize()
    precision = evaluated.eval['precision'][:, :, :, 0, -1]
    by_class = np.array([one[one > -1].mean() if (one > -1).any() else np.nan for one in precision.transpose(2, 0, 1)])
    return evaluated.stats[: 5 if kind == 'keypoints' else 6], by_class


@pytest.mark.parametrize('kind', ['bbox', 'segm', 'keypoints'])
def test_every_draw_is_what_pycocotools_says_of_files_of_it(kind, tmp_path):
    files = write(tmp_path, 30, kind, better=0.8)
    matches = read_matches(tmp_path / 'truth.json', tmp_path / f'better.{kind}.json', kind)
    suffixes = ('', '_50', '_75', '_m', '_l') if kind == 'keypoints' else NAMES
    every = [np.ones((1, 30)), *draws(30, 6, seed=3)]
    for drawn in np.concatenate(every):
        found = matches.metrics(drawn[None])
        summary, by_class = brute_force(files['truth'], files['better'], drawn, kind)
        for suffix, value in zip(suffixes, summary, strict=True):
            ours = found[f'coco/{kind}_mAP{suffix}'][0]
            assert (np.isnan(ours) and value == -1) or ours == pytest.approx(value, abs=1e-12), (kind, suffix)
        np.testing.assert_allclose(found['classes'][0], by_class, atol=1e-12)
    assert 0.1 < found[f'coco/{kind}_mAP'][0] < 0.99


def test_a_detector_that_finds_nothing_has_an_ap_of_0(tmp_path):
    write(tmp_path, 10, better=0.9)
    (tmp_path / 'none.bbox.json').write_text('[]')
    matches = read_matches(tmp_path / 'truth.json', tmp_path / 'none.bbox.json')
    found = matches.metrics(np.ones((2, 10)))
    assert (found['coco/bbox_mAP'] == 0).all() and np.isnan(found['classes'][:, -1]).all()


def test_draws_without_an_object_have_no_value(tmp_path):
    files = write(tmp_path, 20, better=0.9)
    matches = read_matches(tmp_path / 'truth.json', tmp_path / 'better.bbox.json')
    with_objects = {one['image_id'] for one in files['truth']['annotations'] if not one['iscrowd']}
    empty = next(image for image in range(1, 21) if image not in with_objects)
    drawn = np.zeros((1, 20))
    drawn[0, empty - 1] = 20
    assert np.isnan(matches.metrics(drawn)['coco/bbox_mAP'][0])
    assert interval(np.array([np.nan, 1.0, 2.0, 3.0])) == pytest.approx((1.05, 2.95))


def test_the_same_images_are_drawn_for_all_and_the_same_again(tmp_path):
    write(tmp_path, 25, better=0.9, worse=0.5)
    arms = [read_matches(tmp_path / 'truth.json', tmp_path / f'{name}.bbox.json') for name in ('better', 'worse')]
    one, other = resample(arms, 120, seed=1)
    again = resample([arms[1]], 120, seed=1)[0]
    assert one['coco/bbox_mAP'].shape == (120,) and one['classes'].shape == (120, 4)
    np.testing.assert_array_equal(other['coco/bbox_mAP'], again['coco/bbox_mAP'])
    assert not np.array_equal(again['coco/bbox_mAP'], resample([arms[1]], 120, seed=2)[0]['coco/bbox_mAP'])
    counts = np.concatenate(list(draws(25, 120, seed=1)))
    assert counts.shape == (120, 25) and (counts.sum(1) == 25).all()
    # What is hard is hard for both: the difference moves less than it would if each had images of its own.
    paired = np.std(one['coco/bbox_mAP'] - other['coco/bbox_mAP'])
    assert paired < np.hypot(np.std(one['coco/bbox_mAP']), np.std(other['coco/bbox_mAP']))


def test_other_images_or_classes_are_refused(tmp_path):
    for name, images in (('a', 10), ('b', 12)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, images, better=0.9)
    arms = [read_matches(tmp_path / name / 'truth.json', tmp_path / name / 'better.bbox.json') for name in 'ab']
    with pytest.raises(ConfigError, match='different images or classes'):
        resample(arms, 10)
    with pytest.raises(ConfigError, match='does not exist'):
        read_matches(tmp_path / 'a' / 'truth.json', tmp_path / 'gone.json')


def test_students_interval_is_scipys():
    values = [1.2, 0.4, 2.2, 1.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert student(values) == pytest.approx((expected.low, expected.high))
    assert student([2.0, 2.0]) == (2.0, 2.0)


# --- coverage --------------------------------------------------------------------------------------------------------


def covered(folder, images: int, sets: int, resamples: int, truth: float, seed: int = 100) -> float:
    """The share of generated validation sets whose interval has the true difference in it."""
    hits = 0
    for number in range(sets):
        write(folder, images, classes=2, seed=seed + number, better=0.85, worse=0.7)
        arms = [
            read_matches(folder / 'truth.json', folder / f'{name}.bbox.json', sizes=['all'])
            for name in ('better', 'worse')
        ]
        one, other = resample(arms, resamples, seed=number)
        low, high = interval(one['coco/bbox_mAP'] - other['coco/bbox_mAP'])
        hits += low <= truth <= high
    return hits / sets


def true_difference(folder, images: int) -> float:
    write(folder, images, classes=2, seed=99, better=0.85, worse=0.7)
    one, other = (
        read_matches(folder / 'truth.json', folder / f'{name}.bbox.json', sizes=['all']).metrics(np.ones((1, images)))
        for name in ('better', 'worse')
    )
    return float(one['coco/bbox_mAP'][0] - other['coco/bbox_mAP'][0])


def test_intervals_cover_a_known_difference(tmp_path):
    """30 sets: at 95 % fewer than 25 hits have a probability of 0.3 %."""
    assert covered(tmp_path, 60, 30, 200, true_difference(tmp_path, 4000)) >= 25 / 30


@pytest.mark.long
@pytest.mark.parametrize('images', [50, 200, 1000])
def test_how_often_intervals_cover_a_known_difference(images, tmp_path):
    """Prints what docs/intervals.md has; 300 sets have a standard error of 1.3 points at 95 %."""
    share = covered(tmp_path, images, 300 if images < 1000 else 100, 500, true_difference(tmp_path, 20_000))
    print(f'{images} images: {100 * share:.1f} % of the intervals cover the true difference')
    assert share >= 0.88
