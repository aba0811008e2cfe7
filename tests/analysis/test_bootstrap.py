"""Draws of images: against pycocotools and lvis on files in which the images stand so often; intervals; coverage."""

import contextlib
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rethink.analysis import class_ap
from rethink.analysis.bootstrap import Accuracy, Interval, interval, read_matches, resample, student
from rethink.errors import ConfigError
from scipy import stats
from test_class_ap import generate, random_box, without_boxes

BENCHMARK = Path(__file__).parents[2] / 'benchmarks/bootstrap.py'


def few_scores(found: list[dict]) -> list[dict]:
    """So that many scores are equal, within an image and between images."""
    return [dict(one, score=round(2 * one['score']) / 2) for one in found]


def generate_people(seed: int = 0, images: int = 20) -> tuple[dict, list[dict]]:
    """People and another class with 17 keypoints, found well, badly or not at all; crowds, and people without any."""
    rng = np.random.default_rng(seed)
    content = dict(images=[], annotations=[], categories=[dict(id=1, name='person'), dict(id=7, name='ape')])
    found = []

    def flat(points, seen) -> list[float]:
        return np.column_stack([points, seen]).ravel().tolist()

    for image in range(images):
        content['images'].append(dict(id=50 + image, width=256, height=256))
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = box = random_box(rng)
            points = rng.random((17, 2)) * (w, h) + (x, y)
            seen = rng.integers(0, 3, 17) * (rng.random() < 0.9)
            shared = dict(image_id=50 + image, category_id=int(rng.choice([1, 1, 7])))
            content['annotations'].append(
                dict(
                    shared,
                    id=len(content['annotations']) + 1,
                    bbox=box,
                    area=0.6 * w * h,
                    keypoints=flat(points, seen),
                    num_keypoints=int((seen > 0).sum()),
                    iscrowd=int(rng.random() < 0.1),
                )
            )
            for _ in range(rng.integers(0, 4)):
                moved = points + rng.normal(size=(17, 2)) * rng.choice([0.01, 0.05, 0.2]) * (w, h)
                found.append(dict(shared, keypoints=flat(moved, np.ones(17)), score=float(rng.random())))
    return content, found


def repeated(content: dict, found: list[dict], weights) -> tuple[dict, list[dict]]:
    """Files in which each image stands so often: under new ids, with all that it has."""
    new = dict(content, images=[], annotations=[])
    detections = []
    for image, times in zip(sorted(content['images'], key=lambda one: one['id']), weights, strict=True):
        for _ in range(times):
            number = dict(image_id=len(new['images']) + 1)
            new['images'].append(dict(image, id=number['image_id']))
            for one in content['annotations']:
                if one['image_id'] == image['id']:
                    new['annotations'].append(dict(one, **number, id=len(new['annotations']) + 1))
            detections += [dict(one, **number) for one in found if one['image_id'] == image['id']]
    return new, detections


def write(folder, content, found, name='found') -> tuple:
    (folder / 'truth.json').write_text(json.dumps(content))
    (folder / f'{name}.json').write_text(json.dumps(found))
    return folder / 'truth.json', folder / f'{name}.json'


def coco(folder, content, found, metric) -> COCOeval:
    truth, _ = write(folder, content, found)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(truth)
        evaluation = COCOeval(truth, truth.loadRes(without_boxes(found) if metric == 'segm' else found), metric)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def by_class(precision, sizes: int) -> np.ndarray:
    """(classes, metrics) from the table of an evaluation, as MMDetection's ``classwise`` has them."""
    parts = [precision[..., 0, -1], precision[:1, ..., 0, -1], precision[5:6, ..., 0, -1]]
    parts += [precision[..., size, -1] for size in range(1, sizes)]
    return np.array(
        [
            [np.mean(of[of > -1]) if (of > -1).any() else np.nan for of in (part[:, :, row] for part in parts)]
            for row in range(precision.shape[2])
        ]
    )


GIVEN = dict(bbox=generate, segm=generate, keypoints=generate_people)


@pytest.mark.parametrize('metric', GIVEN)
def test_all_images_once_is_pycocotools_to_the_bit(tmp_path, metric):
    for seed, coarse in ((0, False), (1, True)):
        content, found = GIVEN[metric](seed)
        found = few_scores(found) if coarse else found
        matches = read_matches(*write(tmp_path, content, found), metric)
        values, theirs = matches.metrics(), coco(tmp_path, content, found, metric)
        ends = ('', '_50', '_75', '_s', '_m', '_l') if metric != 'keypoints' else ('', '_50', '_75', '_m', '_l')
        assert matches.names == tuple(f'coco/{metric}_mAP{end}' for end in ends)
        np.testing.assert_array_equal(values.all, theirs.stats[: len(ends)])
        np.testing.assert_array_equal(values.classes, by_class(theirs.eval['precision'], len(matches.sizes)))
        assert 0.05 < values.all[0] < 0.9


@pytest.mark.parametrize('metric', GIVEN)
def test_draws_are_pycocotools_on_files_with_copies_of_the_images(tmp_path, metric):
    content, found = GIVEN[metric](2, images=20)
    # An image without an object, one without a detection, one without either.
    lone = [one['id'] for one in content['images'][:3]]
    content['annotations'] = [one for one in content['annotations'] if one['image_id'] not in (lone[0], lone[2])]
    found = [one for one in few_scores(found) if one['image_id'] not in lone[1:]]
    # A class in two images alone, which a draw may lack.
    rare = content['categories'][0]['id']
    kept = [one['image_id'] for one in content['annotations'] if one['category_id'] == rare][-2:]
    content['annotations'] = [
        one for one in content['annotations'] if one['category_id'] != rare or one['image_id'] in kept
    ]
    matches = read_matches(*write(tmp_path, content, found), metric)
    assert len(matches.images) == 20
    # Equal scores in an image of what is right and what is not, which no order but that of the copies tells apart.
    assert sum(one.mixed.sum() for one in matches.ranked if one is not None) >= 10
    assert any(one['iscrowd'] for one in content['annotations'])
    rng = np.random.default_rng(0)
    weights = np.concatenate([rng.multinomial(20, [1 / 20] * 20, 12), [[7] + 19 * [0], 19 * [0] + [7], 20 * [3]]])
    values = matches.metrics(weights)
    assert values.classes.shape == (15, len(content['categories']), len(matches.names))
    for draw, row in enumerate(weights):
        theirs = coco(tmp_path, *repeated(content, found, row), metric)
        stats = theirs.stats[: len(matches.names)]
        np.testing.assert_array_equal(values.all[draw], np.where(stats == -1, np.nan, stats))
        wanted = by_class(theirs.eval['precision'], len(matches.sizes))
        np.testing.assert_array_equal(values.classes[draw], wanted)
        np.testing.assert_array_equal(matches.metrics(row).all, values.all[draw])
    assert 0 < np.isnan(values.classes[:, 0, 0]).sum() < 15
    assert len(np.unique(values.all[:13, 0])) > 10


@pytest.mark.parametrize('metric', ['bbox', 'segm'])
def test_draws_of_lvis_are_the_lvis_package(tmp_path, monkeypatch, metric):
    lvis = pytest.importorskip('lvis')
    monkeypatch.setattr(np, 'float', float, raising=False)  # the package asks for a name that numpy 1.24 took away
    content, found = generate(3, images=20, lvis=True)
    found = few_scores(found)
    matches = read_matches(*write(tmp_path, content, found), metric)
    ends = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
    assert matches.names == tuple(f'lvis/{metric}_{end}' for end in ends)
    weights = np.random.default_rng(1).multinomial(20, [1 / 20] * 20, 6)
    weights[0] = 1
    values = matches.metrics(weights)
    for draw, row in enumerate(weights):
        truth, _ = write(tmp_path, *(files := repeated(content, found, row)))
        theirs = lvis.LVIS(str(truth))
        given = without_boxes(files[1]) if metric == 'segm' else files[1]
        evaluation = lvis.LVISEval(theirs, lvis.LVISResults(theirs, given), metric)
        evaluation.run()
        wanted = np.array([evaluation.get_results()[end] for end in ends])
        np.testing.assert_allclose(values.all[draw], np.where(wanted == -1, np.nan, wanted), rtol=1e-12)
    # What a training logs.
    read = class_ap.read_annotations(truth)
    table = class_ap.class_ap(read, class_ap.read_results(tmp_path / 'found.json', read), metric, lvis=True)
    np.testing.assert_allclose(100 * values.classes[-1][:, [0, 3, 4, 5]], table, rtol=1e-9)


def test_many_draws_at_a_time_are_those_one_by_one(tmp_path):
    """More than one block of draws, in threads, in the order in which they were asked for."""
    content, found = generate(4, images=6)
    matches = read_matches(*write(tmp_path, content, few_scores(found)))
    weights = np.random.default_rng(0).multinomial(6, [1 / 6] * 6, 230)
    done = []
    values = matches.metrics(weights, done.append)
    assert sum(done) == 230 and len(done) > 2
    for draw in (0, 99, 100, 199, 200, 229):
        np.testing.assert_array_equal(matches.metrics(weights[draw]).all, values.all[draw])
    # A number of copies beyond any that is drawn changes nothing.
    np.testing.assert_array_equal(matches.metrics(np.vstack([weights[:3], 40 * weights[:1]])).all[:3], values.all[:3])


def test_images_that_have_nothing_count(tmp_path):
    content, found = generate(5, images=8)
    content['images'] += [dict(id=1000 + at, width=256, height=256) for at in range(8)]
    matches = read_matches(*write(tmp_path, content, found))
    assert len(matches.images) == 16
    # A draw of them alone has nothing to find.
    assert np.isnan(matches.metrics(np.array(8 * [0] + 8 * [1])).all).all()
    for weights in (np.ones(15, int), np.ones((2, 2, 16), int), np.ones(16), np.zeros(16, int), -np.ones(16, int)):
        with pytest.raises(ValueError):
            matches.metrics(weights)


@pytest.mark.parametrize('metric', GIVEN)
def test_a_detector_that_finds_nothing_has_an_ap_of_0(tmp_path, metric):
    content, found = GIVEN[metric](5, images=8)
    values = read_matches(*write(tmp_path, content, []), metric).metrics()
    wanted = read_matches(*write(tmp_path, content, found), metric).metrics()
    for own, other in zip(values, wanted, strict=True):
        np.testing.assert_array_equal(own, np.where(np.isnan(other), np.nan, 0))


# --- pairs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    content, found = generate(6, images=30)
    better = [dict(one, score=one['score'] / 2) if at % 3 == 0 else one for at, one in enumerate(found)]
    truth, one = write(tmp_path, content, found, 'one')
    return truth, one, write(tmp_path, content, better, 'other')[1]


def test_the_same_draws_for_all_arms(pair):
    truth, one, other = pair
    arms = [read_matches(truth, one), read_matches(truth, one), read_matches(truth, other)]
    values = resample(arms, 200)
    assert values.all.shape == (3, 201, 6) and values.classes.shape == (3, 201, 6, 6)
    for number, arm in enumerate(arms):
        np.testing.assert_array_equal(values.all[number, 0], arm.metrics().all)
    assert interval(values.all[1, :, 0] - values.all[0, :, 0]) == (0, 0, 0)
    # Draws of two arms that share none have the variances of both.
    difference = values.all[2, 1:, 0] - values.all[0, 1:, 0]
    apart = resample(arms[2:], 200, seed=1).all[0, 1:, 0] - values.all[0, 1:, 0]
    assert difference.std() < 0.7 * apart.std()
    # One seed, one distribution; another seed, another.
    np.testing.assert_array_equal(resample(arms[:1], 200).all[0], values.all[0])
    assert not np.array_equal(resample(arms[:1], 200, seed=1).all[0], values.all[0])
    # Any expression of arms and metrics: that AP75 gains more than AP50.
    gain = values.all[2] - values.all[0]
    assert isinstance(interval(gain[:, 2] - gain[:, 1]), Interval)


def test_draws_are_with_replacement_and_equal_chances(pair, monkeypatch):
    arm = read_matches(*pair[:2])
    seen = []
    monkeypatch.setattr(type(arm), 'metrics', lambda self, weights, done: seen.append(weights) or Accuracy.metrics(
        Accuracy(np.ones(30, bool)), weights, done))  # fmt: skip
    resample([arm], 2000)
    weights = seen[0]
    assert (weights[0] == 1).all() and (weights.sum(1) == 30).all()
    # Binomial(30, 1/30) of each image: mean 1, variance 29/30, none at all in (29/30)^30.
    np.testing.assert_allclose(weights[1:].mean(0), 1, atol=0.1)
    np.testing.assert_allclose(weights[1:].var(), 29 / 30, atol=0.03)
    np.testing.assert_allclose((weights[1:] == 0).mean(), (29 / 30) ** 30, atol=0.01)


def refused(arms) -> str:
    with pytest.raises(ConfigError) as error:
        resample(arms, 100)
    assert '\n' not in str(error.value) and str(error.value).count('. ') == 0
    return str(error.value)


def test_arms_that_cannot_be_paired(tmp_path, pair):
    truth, one, _ = pair
    content = json.loads(truth.read_text())
    arm = read_matches(truth, one)

    def other(**changes):
        (tmp_path / 'other_truth.json').write_text(json.dumps(content | changes))
        return read_matches(tmp_path / 'other_truth.json', one)

    more = other(images=[*content['images'], dict(id=1, width=256, height=256)])
    assert 'results 2 and 1 ' in refused([arm, more])
    assert 'other images (31 and 30, of which 30 are in both)' in refused([arm, more])
    names = [dict(one, name=one['name'] + '!' * (one['id'] == 2)) for one in content['categories']]
    sentence = refused([arm, arm, other(categories=names)])
    assert 'results 3 and 1 cannot' in sentence and "other classes (only one of the two has 'class 0'" in sentence
    swapped = [dict(one, id=7 - one['id'] if one['id'] in (2, 5) else one['id']) for one in content['categories']]
    assert 'other ids of the same classes' in refused([arm, other(categories=swapped)])
    assert 'other objects in the same images' in refused([arm, other(annotations=content['annotations'][1:])])
    assert "other metrics ('accuracy/top1', 'coco/bbox_mAP'" in refused([arm, Accuracy(np.ones(30, bool))])


def test_boxes_and_masks_of_the_same_draws(pair):
    """Such as that masks gain more than boxes."""
    truth, one, other = pair
    arms = [read_matches(truth, file, metric) for metric in ('bbox', 'segm') for file in (one, other)]
    values = resample(arms, 100).all[..., 0]
    for arm, own in zip(arms, values, strict=True):
        np.testing.assert_array_equal(own, resample([arm], 100).all[0, :, 0])
    assert isinstance(interval(values[3] - values[2] - (values[1] - values[0])), Interval)


def test_wrong_files_are_told_in_a_sentence(tmp_path):
    content, found = generate_people(images=4)

    def sentence(content, found) -> str:
        with pytest.raises(ConfigError) as error:
            read_matches(*write(tmp_path, content, found), 'keypoints')
        return str(error.value)

    assert 'is an annotation file, not a results file' in sentence(content, content)
    boxes = [{key: one[key] for key in one if key != 'num_keypoints'} for one in content['annotations']]
    assert 'without num_keypoints' in sentence(dict(content, annotations=boxes), found)
    five = [dict(one, keypoints=one['keypoints'][:15]) for one in content['annotations']]
    assert 'with 5 keypoints' in sentence(dict(content, annotations=five), found)
    assert 'without keypoints, so it has no keypoints results' in sentence(
        content, [{key: one[key] for key in one if key != 'keypoints'} for one in found]
    )
    assert 'did the training diverge?' in sentence(content, [dict(found[0], keypoints=51 * [float('nan')])])
    assert 'did the training diverge?' in sentence(content, [dict(found[0], keypoints=[1, 2, 1])])


# --- intervals -------------------------------------------------------------------------------------------------------


def test_percentiles():
    values = np.concatenate([[0.5], np.random.default_rng(0).permutation(np.arange(1001) / 1000)])
    assert interval(values) == (0.5, 0.025, 0.975) and interval(values).sign == 1
    np.testing.assert_allclose(interval(values, 0.9), (0.5, 0.05, 0.95), atol=0.0011)  # one draw outwards at most
    assert interval(-values).sign == -1 and interval(values - 0.5).sign == 0
    with pytest.raises(ValueError, match='39 resamples have no 95 % interval'):
        interval(np.zeros(40))


def test_draws_without_an_object_widen_the_interval():
    values = np.arange(1002) / 1001
    few, many = values.copy(), values.copy()
    few[500:510], many[500:530] = np.nan, np.nan
    low, high = interval(few)[1:]
    assert low < interval(values).low and high > interval(values).high
    assert interval(many)[1:] == (-np.inf, np.inf) and interval(many).sign == 0


def test_student_is_scipys():
    values = [1.2, 0.7, 2.9, 1.1]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(student(values), (np.mean(values), wanted.low, wanted.high))
    np.testing.assert_allclose(student(values, 0.8)[1:], stats.ttest_1samp(values, 0).confidence_interval(0.8))
    assert student([1.5]) == (1.5, -np.inf, np.inf) and student([1.5]).sign == 0


def test_accuracy_is_scipys_bootstrap():
    rng = np.random.default_rng(0)
    one = rng.random(400) < 0.7
    other = np.where(rng.random(400) < 0.9, one, rng.random(400) < 0.9)
    values = resample([Accuracy(one), Accuracy(other)], 4000)
    assert values.all.shape == (2, 4001, 1) and values.classes.shape == (2, 4001, 0, 1)
    found = interval(values.all[1, :, 0] - values.all[0, :, 0])
    assert found.value == pytest.approx(100 * (other.mean() - one.mean()))
    theirs = stats.bootstrap(
        (other.astype(float), one.astype(float)),
        lambda one, other, axis: 100 * (one.mean(axis) - other.mean(axis)),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method='percentile',
        random_state=1,
    ).confidence_interval
    np.testing.assert_allclose(found[1:], [theirs.low, theirs.high], atol=0.3)
    assert 'of which 400 are in both' in refused([Accuracy(one), Accuracy(np.append(other, True))])


# --- coverage --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def simulation():
    if not BENCHMARK.is_file():
        pytest.skip('benchmarks/ does not lie beside these tests')
    spec = importlib.util.spec_from_file_location('benchmark_of_bootstrap', BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_part_of_the_images_is_a_draw_without_the_others(simulation):
    """What stands for a validation set in the simulation is evaluated as one."""
    arm, _ = simulation.matches_of(*simulation.simulate(40, 3, 3, 3, (0.0, 0.5), seed=1), [])
    weights = np.repeat([0, 1, 2, 0], 10)
    part = simulation.select(arm, np.flatnonzero(weights)).metrics(weights[weights > 0])
    np.testing.assert_array_equal(part.all, arm.metrics(weights).all)
    np.testing.assert_array_equal(part.classes, arm.metrics(weights).classes)


def test_intervals_have_the_width_of_the_noise(simulation):
    """Of 40 sets of 100 images; 0.95 of 40 are 38, and with half the width it would be 27."""
    arms = simulation.matches_of(*simulation.simulate(600, 2, 3, 2, (0.0, 0.3)), [])
    found = simulation.cover(arms, images=100, sets=40, resamples=80)['percentile', 'coco/bbox_mAP']
    assert found['sets'] == 40 and found['covered'] >= 0.85
    assert 0.7 < found['width'] / found['spread'] < 1.4


@pytest.mark.long
def test_intervals_cover_the_true_difference(simulation):
    """Of 400 sets 0.95 with a standard error of 0.011."""
    arms = simulation.matches_of(*simulation.simulate(10_000, 4, 4, 4, (0.0, 0.2)), [])
    true = [arm.metrics().all[0] for arm in arms]
    assert 0.01 < true[1] - true[0] < 0.08
    for images, least in ((50, 0.9), (200, 0.92), (1000, 0.92)):
        found = simulation.cover(arms, images, sets=400 if images < 1000 else 200, resamples=400)
        of = found['percentile', 'coco/bbox_mAP']
        assert least <= of['covered'] <= 0.985, (images, of)
        assert 0.85 < of['width'] / of['spread'] < 1.25, (images, of)


def test_intervals_of_accuracy_cover_the_true_difference():
    """Two classifiers of 0.7 and 0.75 that err on much the same of 300 images."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(200):
        hard = rng.random(300)
        one, other = hard + rng.normal(size=300) / 10 < 0.7, hard + rng.normal(size=300) / 10 < 0.75
        values = resample([Accuracy(one), Accuracy(other)], 200).all
        low, high = interval(values[1, :, 0] - values[0, :, 0])[1:]
        covered.append(low <= 100 * 0.05 <= high)
    # A standard error of 0.015.
    assert 0.9 <= np.mean(covered) <= 0.985
