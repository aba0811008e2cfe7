"""Δ of each class against its training annotations: on tables whose answers are known, and from files to a picture."""

import csv
import itertools
import json

import numpy as np
import pytest
from rethink.analysis import class_ap, class_gains
from rethink.analysis.class_gains import GROUPS, Gains
from rethink.errors import ConfigError
from scipy import stats
from test_class_ap import generate


def gains(counts, delta, base=30.0, runs=1, noise=0.0, **more) -> Gains:
    """Classes with these counts and Δ at every size, in thirds; runs differ by noise that their mean has not."""
    delta = np.repeat(np.asarray(delta, float)[:, None], 4, 1)
    shift = np.linspace(-noise, noise, runs)[:, None, None] if runs > 1 else 0
    names = [f'class {number}' for number in range(len(counts))]
    groups, split = class_gains.count_groups(counts)
    arms = [np.repeat((base + one)[None], runs, 0) + shift for one in (0 * delta, delta)]
    return Gains(names, groups, np.array(counts), np.array(counts), *arms, split, ('tune', 'freeze'), **more)


COUNTS = [3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000]


# --- groups ----------------------------------------------------------------------------------------------------------


def test_thirds_and_thresholds_by_hand():
    groups, how = class_gains.count_groups([50, 1, 900, 7, 8, 70])
    assert groups == ['common', 'rare', 'frequent', 'rare', 'common', 'frequent']
    assert how == 'thirds of the classes by training annotations: rare up to 8, common up to 57'
    # Equal counts are in one group, whatever that does to the thirds.
    assert class_gains.count_groups([5, 5, 5, 5, 9, 20])[0] == ['rare'] * 4 + ['frequent'] * 2
    groups, how = class_gains.count_groups([10, 11, 100, 101, 0], (10, 100))
    assert groups == ['rare', 'common', 'common', 'frequent', 'rare']
    assert how == 'given: rare up to 10, common up to 100'
    with pytest.raises(ConfigError, match='--thresholds are 100 and 10'):
        class_gains.count_groups([1], (100, 10))


# --- means and trends ------------------------------------------------------------------------------------------------


def test_mean_of_single_runs_has_students_interval_over_classes():
    delta = [4.0, 1.0, 2.5, 0.0, -1.0, 0.5, -2.0, -3.0, 1.0]
    found = gains(COUNTS, delta)
    for group, of in ((None, delta), ('rare', delta[:3]), ('common', delta[3:6]), ('frequent', delta[6:])):
        mean, wanted = found.mean(group), stats.ttest_1samp(of, 0).confidence_interval(0.95)
        np.testing.assert_allclose((mean.value, mean.low, mean.high), (np.mean(of), *wanted))
        assert mean.classes == len(of)


def test_mean_of_reruns_has_welchs_interval_over_runs():
    """All classes of a run share its noise and Δ is one for all: runs are all that differs."""
    random = np.random.default_rng(0)
    base, other = (30 + random.normal(size=(runs, 1, 1)) * np.ones((1, 9, 4)) for runs in (4, 3))
    names, groups = [str(one) for one in COUNTS], class_gains.count_groups(COUNTS)[0]
    mean = Gains(names, groups, np.array(COUNTS), np.array(COUNTS), base, other).mean()
    wanted = stats.ttest_ind(other[:, 0, 0], base[:, 0, 0], equal_var=False).confidence_interval(0.95)
    np.testing.assert_allclose((mean.low, mean.high), wanted, rtol=1e-6)


def test_mean_of_one_class_has_no_interval_and_of_none_no_value():
    found = gains([1, 10, 100, 1000], [1, 2, 3, 4])
    assert found.groups == ['rare', 'rare', 'common', 'frequent']
    assert str(found.mean('common')) == '+3.0 (one class)'
    found.base[:, :2, 1] = np.nan  # no small object of the rare classes to find
    assert found.mean('rare', 'small') is None and found.mean('rare').classes == 2


@pytest.mark.parametrize('delta', [[5, 4, 3, 2, 1], [5, 4, 3, 1, 2], [1, 5, 2, 4, 3], [1, 1, 2, 3, 3]])
def test_trend_of_few_classes_is_exact(delta):
    """ρ by its definition and p over all orders, which are 120."""
    counts = [1, 10, 100, 1000, 10_000]
    trend = gains(counts, delta).trend()
    rho = np.corrcoef(stats.rankdata(counts), stats.rankdata(delta))[0, 1]
    np.testing.assert_allclose(trend.rho, rho)
    every = [
        np.corrcoef(stats.rankdata(order), stats.rankdata(delta))[0, 1] for order in itertools.permutations(counts)
    ]
    below, above = (np.mean(np.array(every) <= rho + 1e-9), np.mean(np.array(every) >= rho - 1e-9))
    np.testing.assert_allclose(trend.p, min(1, 2 * min(below, above)))


def test_the_interval_of_the_trend_is_that_of_scipys_bootstrap():
    random = np.random.default_rng(1)
    counts = np.round(np.exp(random.uniform(2, 10, 60))).astype(int)
    delta = -np.log(counts) + random.normal(0, 3, 60)
    trend = gains(counts, delta).trend()
    wanted = stats.bootstrap(
        (counts, delta),
        lambda *pair: stats.spearmanr(*pair).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method='percentile',
        random_state=3,
    ).confidence_interval
    np.testing.assert_allclose((trend.low, trend.high), wanted, atol=0.03)
    assert trend.shown and trend.low < trend.rho < trend.high < 0


def test_reruns_widen_the_interval_and_their_mean_is_what_is_judged():
    random = np.random.default_rng(2)
    counts, runs = np.unique(np.round(np.exp(random.uniform(2, 10, 40))).astype(int)), 3
    steady = gains(counts, -np.log(counts), runs=runs)
    noisy = gains(counts, -np.log(counts), runs=runs)
    noise = random.normal(0, 4, noisy.other.shape)
    noisy.other[:] += noise - noise.mean(0)
    np.testing.assert_allclose(noisy.delta, steady.delta)
    assert noisy.trend().rho == steady.trend().rho == -1
    assert steady.trend().high == pytest.approx(-1) and noisy.trend().high > -0.95


def test_chance_is_rarely_called_a_trend():
    """Of 100 tables without one, about 5 or fewer; 12 or more has a probability of 1 in 200 at 5 %."""
    random = np.random.default_rng(3)
    counts = np.round(np.exp(random.uniform(2, 10, 12))).astype(int)
    found = [gains(counts, random.normal(size=12)).trend().shown for _ in range(100)]
    assert sum(found) < 12


# --- words -----------------------------------------------------------------------------------------------------------

FALLING = np.array([8, 7.5, 7, 4, 3.5, 3, 0.5, 0.2, 0])


@pytest.mark.parametrize(
    ('delta', 'says'),
    [
        (FALLING, 'Holds in these results: Δ grows as annotations get fewer, and freeze is ahead in rare classes.'),
        (FALLING - 20, 'Holds in part: Δ grows as annotations get fewer, but freeze is behind in rare classes.'),
        (FALLING - 7.6, 'that freeze is ahead in rare classes is not shown (-0.1 (-1.3 to +1.1; 3 classes)).'),
        (-FALLING, 'The opposite'),
        ([1, -1, 2, -2, 0, 1.5, -1.5, 0.5, 1.2], 'Not shown'),
        ([2] * 9, 'Cannot be said'),
    ],
)
def test_verdicts(delta, says):
    assert says in class_gains.verdict(gains(COUNTS, delta))


def test_too_few_classes_are_not_judged():
    assert '4 classes are too few' in class_gains.verdict(gains([1, 10, 100, 1000], [4, 3, 2, 1]))
    assert 'Holds in' in class_gains.verdict(gains([1, 10, 100, 1000, 10_000], [4.1, 4, 2, 1, 0]))
    assert 'Cannot be said' in class_gains.verdict(gains([7] * 9, FALLING))


def test_a_perfect_order_that_two_runs_contradict_is_not_shown():
    """Δ falls in the mean of two runs and rises in one of them, by far."""
    found = gains(COUNTS, FALLING / 10, runs=2)
    found.other[0] += np.linspace(-30, 30, 9)[:, None]
    found.other[1] -= np.linspace(-30, 30, 9)[:, None]
    assert found.trend().rho == pytest.approx(-1) and found.trend().p < 0.001
    assert 'Not shown' in class_gains.verdict(found)


def test_words_name_numbers_and_what_is_missing():
    found = gains(COUNTS, FALLING)
    found.annotations[0] = 0
    found.base[:, 4], found.other[:, 4] = np.nan, np.nan
    text = class_gains.words(found)
    low, high = stats.ttest_1samp(np.delete(FALLING, 4), 0).confidence_interval(0.95)
    assert f'| all | +3.8 ({low:+.1f} to {high:+.1f}; 8 classes) | +7.5 (+6.3 to +8.7; 3 classes) |' in text
    assert 'ρ = -1.00' in text and 'box AP of freeze (1 run) less that of tune (1 run)' in text
    assert 'does not tell the noise between runs' in text
    assert 'for want of an object to find: 1 of 9 classes' in text
    assert "Without a training annotation: 'class 0'." in text
    nothing = gains(COUNTS, 0 * FALLING, base=0.0, runs=2)
    text = class_gains.words(nothing)
    assert 'Cannot be said' in text and 'noise between runs' not in text
    assert 'Run 2 of freeze has an AP of 0 in every class' in text and 'same AP everywhere' in text


# --- from files ------------------------------------------------------------------------------------------------------


def weakened(found: list[dict], share: float, seed: int) -> list[dict]:
    random = np.random.default_rng(seed)
    return [one for one in found if random.random() < share]


@pytest.fixture(scope='module', params=[False, True], ids=['coco', 'lvis'])
def folder(request, tmp_path_factory):
    """A folder with annotations and results of two runs of one arm, three of the other; and whether it is LVIS."""
    path = tmp_path_factory.mktemp('gains')
    content, found = generate(5, lvis=request.param)
    (path / 'val.json').write_text(json.dumps(content))
    train = dict(content, annotations=[])
    for number, category in enumerate(content['categories']):
        for at in range(2 * 4**number):
            train['annotations'].append(
                dict(image_id=100 + at % 7, category_id=category['id'], bbox=[0, 0, 9, 9], area=81, iscrowd=0)
            )
        train['annotations'].append(dict(image_id=100, category_id=category['id'], bbox=[0, 0, 99, 99], iscrowd=1))
    (path / 'train.json').write_text(json.dumps(train))
    for arm, runs, share in (('tune', 2, 0.6), ('freeze', 3, 0.8)):
        for run in range(runs):
            results = json.dumps(weakened(found, share, 10 * run + runs))
            (path / f'{arm}_{run}.segm.json').write_text(results)
    return path, request.param


def arguments(folder) -> dict:
    path, lvis = folder
    base, other = (sorted(path.glob(f'{arm}_*')) for arm in ('tune', 'freeze'))
    return dict(
        train_ann=path / 'train.json', val_ann=path / 'val.json', base=base, other=other, iou_type='segm', lvis=lvis
    )


def test_runs_are_averaged_and_counts_and_groups_are_those_of_the_files(folder):
    path, lvis = folder
    found = class_gains.read(**arguments(folder))
    truth = class_ap.read_annotations(path / 'val.json')
    for arm, name in ((found.base, 'tune'), (found.other, 'freeze')):
        single = [
            class_ap.class_ap(truth, class_ap.read_results(file, truth, 'segm'), 'segm', lvis)
            for file in sorted(path.glob(f'{name}_*'))
        ]
        np.testing.assert_array_equal(arm, single)
    np.testing.assert_array_equal(found.delta, found.other.mean(0) - found.base.mean(0))
    # The region of a crowd does not count.
    assert found.annotations.tolist() == [2 * 4**number for number in range(6)]
    assert found.images.tolist() == [2, 7, 7, 7, 7, 7]
    assert found.groups == [group for group in GROUPS for _ in range(2)]
    assert (found.arms, found.metric, found.split[:4]) == (('tune', 'freeze'), 'mask AP', 'LVIS' if lvis else 'thir')


def test_tool(folder, tmp_path, run_in_process):
    path, lvis = folder
    given = arguments(folder)
    code, printed = run_in_process(
        'analysis_tools/class_gains.py',
        *('--train-ann', given['train_ann'], '--val-ann', given['val_ann'], '--base', *given['base']),
        *('--other', *given['other'], '--iou-type', 'segm', '--out-dir', tmp_path / 'out', *['--lvis'] * lvis),
    )
    assert code in (None, 0), printed
    found = class_gains.read(**given)
    assert class_gains.table(found) in printed and class_gains.words(found) in printed
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {
        f'classes.{suffix}' for suffix in ('md', 'csv', 'json', 'png', 'svg')
    }
    with open(tmp_path / 'out/classes.csv') as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row['delta']) for row in rows[:5]], found.delta[:5, 0], rtol=1e-5)
    assert rows[5]['delta'] == '' and rows[5]['name'] == 'class 5'
    errors = (found.base[:, :5, 0].var(0, ddof=1) / 2 + found.other[:, :5, 0].var(0, ddof=1) / 3) ** 0.5
    np.testing.assert_allclose([float(row['error']) for row in rows[:5]], errors, rtol=1e-5)
    content = json.loads((tmp_path / 'out/classes.json').read_text())
    assert content['verdict'] == class_gains.verdict(found) and content['runs'] == dict(base=2, other=3)
    np.testing.assert_allclose(content['trends']['all']['rho'], found.trend().rho)
    np.testing.assert_allclose(content['means']['large']['rare']['value'], found.mean('rare', 'large').value)


def test_a_long_table_shows_both_ends():
    counts = list(range(1, 31))
    found = gains(counts, np.arange(30.0))
    lines = class_gains.table(found, 4).splitlines()
    assert lines[0] == '30 classes; the 2 with the highest Δ and the 2 with the lowest:'
    assert [line.split(' | ')[0] for line in lines[4:]] == ['| class 29', '| class 28', '| class 1', '| class 0']
    assert len(class_gains.table(found).splitlines()) == 32


@pytest.mark.parametrize(
    ('base', 'other', 'names'),
    [
        (['w/tune.bbox.json'], ['w/freeze.bbox.json'], ('tune', 'freeze')),
        (['w/tune_0.bbox.json', 'w/tune_1.bbox.json'], ['w/freeze_2.bbox.json'], ('tune', 'freeze_2')),
        (['tune/r.segm.json'], ['freeze/r.segm.json'], ('tune', 'freeze')),
        (['s0/tune/r.json', 's1/tune/r.json'], ['s0/freeze/r.json', 's1/freeze/r.json'], ('tune', 'freeze')),
        (['s0/tune.json', 's1/tune.json'], ['s0/freeze.json', 's1/freeze.json'], ('tune', 'freeze')),
        (['a/1.json', 'b/2.json'], ['a/2.json', 'b/1.json'], ('base', 'other')),
    ],
)
def test_arms_are_called_by_what_their_files_share(tmp_path, base, other, names):
    assert class_gains._arm_names(*([tmp_path / one for one in arm] for arm in (base, other))) == names


# --- wrong input -----------------------------------------------------------------------------------------------------


def test_wrong_input(folder, tmp_path):
    path, lvis = folder
    given = arguments(folder)

    def refused(**changes) -> str:
        with pytest.raises(ConfigError) as error:
            class_gains.read(**given | changes)
        assert '\n' not in str(error.value)
        return str(error.value)

    assert 'named twice' in refused(base=given['other'])
    assert 'name at least one results file' in refused(base=[])
    assert 'is no LVIS file' in refused(lvis=True) if not lvis else 'add --lvis' in refused(lvis=False)
    content = json.loads(given['train_ann'].read_text())
    other = tmp_path / 'train.json'
    categories = [dict(one, name=one['name'].replace('class 1', 'dog')) for one in content['categories']]
    other.write_text(json.dumps(content | dict(categories=categories)))
    assert "only one of them has 'class 1', 'dog'" in refused(train_ann=other)
    names = [one['name'] for one in content['categories']][::-1]
    categories = [dict(one, name=name) for one, name in zip(content['categories'], names, strict=True)]
    other.write_text(json.dumps(content | dict(categories=categories)))
    assert 'the same names have other ids' in refused(train_ann=other)
    if lvis:
        assert 'exclude each other' in refused(thresholds=(1, 2))
        categories = [{key: one[key] for key in ('id', 'name')} for one in content['categories']]
        other.write_text(json.dumps(content | dict(categories=categories)))
        assert 'gives 6 of its 6 categories no frequency' in refused(train_ann=other)


def test_wrong_input_to_the_tool_is_one_sentence_before_anything_is_evaluated(folder, tmp_path, run_in_process):
    path, lvis = folder
    given = arguments(folder)
    wrong = [dict(one, image_id=one['image_id'] + 10**6) for one in json.loads(given['other'][0].read_text())]
    (tmp_path / 'wrong.json').write_text(json.dumps(wrong))
    code, printed = run_in_process(
        'analysis_tools/class_gains.py',
        *('--train-ann', given['train_ann'], '--val-ann', given['val_ann'], '--base', *given['base']),
        *('--other', tmp_path / 'wrong.json', '--iou-type', 'segm', '--out-dir', tmp_path / 'out', *['--lvis'] * lvis),
    )
    assert code == 2 and not (tmp_path / 'out').exists()
    errors = [line for line in printed.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and 'it is of another data set' in errors[0]


# --- figure ----------------------------------------------------------------------------------------------------------


def test_running_mean_by_hand():
    counts, delta = np.array([1000, 1, 10, 100, 0]), np.array([4.0, 1, 2, 3, 9])
    at, mean = class_gains.running_mean(counts, delta)
    np.testing.assert_allclose(at, [10 ** (1 / 3), 10, 100])
    np.testing.assert_allclose(mean, [4, 2, 3])
    assert len(class_gains.running_mean(counts[:2], delta[:2])[0]) == 0


def test_the_picture_shows_each_class_where_it_belongs(tmp_path, monkeypatch):
    found = gains(COUNTS, FALLING)
    found.annotations[0] = 0
    found.other[:, 8] = np.nan
    kept = []
    monkeypatch.setattr(class_gains.plt, 'close', kept.append)
    class_gains.draw(found, tmp_path / 'a 3.5k')
    monkeypatch.undo()
    (figure,) = kept
    left, right = figure.axes
    points = np.concatenate([np.asarray(one.get_offsets()) for one in left.collections])
    np.testing.assert_allclose(points, np.stack([found.annotations, found.delta[:, 0]], 1)[:8])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        'rare (3)',
        'common (3)',
        'frequent (2)',
        'running mean',
    ]
    assert left.get_xscale() == 'symlog' and left.get_xlim()[0] <= 0
    heights = [patch.get_height() for patch in right.patches]
    np.testing.assert_allclose(heights, [found.mean(group, size).value for group in GROUPS for size in class_ap.SIZES])
    class_gains.plt.close(figure)
    assert {file.name for file in tmp_path.iterdir()} == {'a 3.5k.png', 'a 3.5k.svg'}
