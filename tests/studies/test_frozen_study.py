"""What study C's verdict says of made-up numbers: as the paper found, the opposite, and nothing beyond the noise."""

import numpy as np
import pytest
from rethink.analysis import class_gains
from rethink.studies import frozen_study
from rethink.studies.frozen_study import ARMS, DETECTORS, Result, capacity, difference, saved, verdict, where
from scipy import stats

COUNTS = [300, 200, 150, 100, 70, 50, 30, 20, 10, 5]


def results(small=(20.0, 24.0, 10.0), large=(30.0, 26.0, 15.0), cheap=True, seconds=(0.5, 1.0, 1.1)) -> list[Result]:
    """AP and seconds of the frozen, the fine-tuned and the arm from scratch."""
    found = []
    for detector, values in zip(DETECTORS, (small, large), strict=True):
        for arm, ap, time in zip(ARMS, values, seconds, strict=True):
            less = 2 if arm == 'freeze' and cheap else 1
            step = dict(forward=4 * 10**9, backward=8 * 10**9 // less, kept=40 * 10**6 // less)
            trainable = 40 if arm == 'freeze' else 100
            found.append(Result(detector, arm, ap, 2 * ap, 100, trainable, seconds=time, **step))
    return found


def gains(delta) -> class_gains.Gains:
    """A class for each of COUNTS, of one run in either arm."""
    groups, split = class_gains.count_groups(COUNTS)
    base = np.full((1, 10, 4), 20.0)
    other = base + np.asarray(delta, float)[:, None]
    names = [f'class {number}' for number in range(10)]
    return class_gains.Gains(names, groups, np.array(COUNTS), np.array(COUNTS), base, other, split)


def test_one_seed_has_the_margin_and_several_have_students_interval():
    assert difference([1.5], 2.0) == (1.5, -0.5, 3.5)
    values = [1.0, 2.0, 4.0]
    found = difference(values, 100.0)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found, (np.mean(values), *wanted))
    assert [difference([value], 2.0).sign for value in (-3, -1, 0, 2, 2.5)] == [-1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ('small', 'large', 'sentences'),
    [
        (
            (20.0, 24.0, 10.0),
            (30.0, 26.0, 15.0),
            [
                'with FPN, freezing is below fine-tuning (-4.0, -6.0 to -2.0 AP) and above training from scratch',
                'with NAS-FPN + cascade, freezing is above fine-tuning (+4.0, +2.0 to +6.0 AP)',
                'by +8.0, +5.2 to +10.8. As the study found',
            ],
        ),
        (
            (20.0, 24.0, 10.0),
            (26.5, 26.0, 15.0),
            ['level with fine-tuning (+0.5', 'In part as', 'but it does not win in the larger one.'],
        ),
        (
            (24.0, 24.0, 10.0),
            (27.0, 22.0, 35.0),
            ['below training from scratch (-8.0', 'In part as', 'but it does not lose in the small one.'],
        ),
        (
            (24.0, 24.0, 10.0),
            (26.0, 24.2, 15.0),
            ['not shown: what the larger detector changes may be noise', 'by +1.8, -1.0 to +4.6'],
        ),
        ((28.0, 24.0, 10.0), (20.0, 26.0, 15.0), ['The opposite', 'by -10.0']),
    ],
)
def test_capacity_follows_the_numbers(small, large, sentences):
    words = capacity([results(small, large)], 2.0)
    for sentence in sentences:
        assert sentence in words
    answers = ('As the study found', 'In part as the study found', 'not shown', 'The opposite')
    assert sum(answer in words for answer in answers) == 1


def test_over_seeds_what_they_disagree_about_is_not_shown():
    """The same mean as a single seed that shows it."""
    seeds = [results(large=(30 + shift, 26.0, 15.0)) for shift in (-12, 0, 12)]
    words = capacity(seeds, 2.0)
    assert 'level with fine-tuning (+4.0, -25.8 to +33.8 AP)' in words and 'not shown' in words
    assert 'As the study found' in capacity([results(large=(30 + s, 26.0, 15.0)) for s in (-1, 0, 1)], 2.0)


def test_savings_and_their_absence():
    words = saved([results()], 'fpn')
    assert 'takes 0.67 of the operations' in words and '(8.0 of 12.0 GFLOPs)' in words
    assert 'keeps 0.50 of the bytes (20 of 40 MB)' in words and 'has 0.50 of the CPU time' in words
    assert 'differ by 10 %' in words and words.endswith('It saves operations and memory for the backward pass.')
    words = saved([results(cheap=False, seconds=(1.05, 1.0, 1.1))], 'nasfpn_cascade')
    assert 'no other CPU time than noise may explain' in words
    assert words.endswith('It saves neither operations nor memory.')


def test_where_it_helps():
    """Δ that grows as classes get rarer, the reverse, and none."""
    rising = np.linspace(-4, 5, 10)
    assert 'Holds in these results' in where(gains(rising), 'FPN')
    assert 'ρ = -1.00' in where(gains(rising), 'FPN')
    assert 'The opposite' in where(gains(-rising), 'FPN')
    words = where(gains([1, -1, 0.5, -2, 2, 0.1, -0.3, 1.5, -1.4, 0.2]), 'FPN')
    assert 'Not shown' in words and 'rare' in words and 'frequent' in words


def test_verdict_tables_and_picture(tmp_path):
    found = {detector: gains(np.linspace(-4, 5, 10)) for detector in DETECTORS}
    words = verdict([results()], found, 2.0)
    assert [line.split(' ')[1] for line in words.splitlines()] == ['Capacity:', 'Saved,', 'Saved,', 'Where,', 'Where,']
    table = frozen_study.table(results())
    assert '| NAS-FPN + cascade | frozen | 40 % | 30.0 | 60.0 | 8.0 | 20 | 0.500 |' in table
    assert len(table.splitlines()) == 2 + 6
    seeds = frozen_study.seeds_table({0: results(), 2: results(small=(22.0, 24.0, 10.0))})
    assert '| 2 | 22.0 | 24.0 | 10.0 | 30.0 | 26.0 | 15.0 |' in seeds
    assert '| mean | 21.0 ± 1.4 | 24.0 ± 0.0 |' in seeds
    frozen_study.draw(results(), found, tmp_path / 'picture', 'title')
    assert (tmp_path / 'picture.png').stat().st_size > 20_000 and (tmp_path / 'picture.svg').exists()
    frozen_study.draw(results()[:2], {'fpn': found['fpn']}, tmp_path / 'small', 'title')
    assert (tmp_path / 'small.png').exists()
