"""The verdict says what the numbers say, whichever way they point."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from rethink.analysis.logs import Run
from rethink.studies import convergence
from rethink.studies.convergence import Pair, judge


def run(final: float, iters: int = 300) -> Run:
    at = range(100, iters + 1, 100)
    val = {i: {key: final / 100 * i / iters for key in convergence.METRICS.values()} for i in at}
    one = Run(Path('somewhere'), val=val)
    one.config = Config(dict(train_cfg=dict(max_iters=iters)))
    return one


def pairs(short=(30.0, 20.0), long=(40.0, 40.2)):
    return [Pair('6x', run(long[0], 1800), run(long[1], 1800)), Pair('1x', run(short[0]), run(short[1]))]


@pytest.mark.parametrize(
    ('short', 'long', 'says'),
    [
        (
            (30, 20),
            (40, 40.2),
            ['ahead by 10.0 AP (30.0 against 20.0)', 'has caught up (40.2 against 40.0', 'This is what'],
        ),
        (
            (30, 20),
            (40, 42),
            ['ahead by 10.0', 'has overtaken: it is 2.0 AP ahead (42.0 against 40.0)', 'This is what'],
        ),
        ((30, 20), (40, 37), ['ahead by 10.0', 'has not caught up: it is still 3.0 AP behind', 'This is not what']),
        (
            (20.3, 20),
            (40, 40),
            ['is not ahead (20.3 against 20.0 AP, less than 1 apart)', 'caught up', 'This is not what'],
        ),
        ((20, 25), (40, 40), ['is behind by 5.0 AP (20.0 against 25.0)', 'This is not what']),
    ],
)
def test_verdict(short, long, says):
    words = convergence.verdict(pairs(short, long), margin=1.0)
    for part in says:
        assert part in words
    assert '(1x)' in words and '(6x)' in words
    assert words == judge(('1x', *map(float, short)), ('6x', *map(float, long)), 1.0)


def test_table_has_a_row_per_run_in_points():
    lines = convergence.table(pairs()).splitlines()
    assert lines[0] == '| schedule | iterations | initialisation | AP | AP50 | AP75 | mask AP |'
    assert lines[2:] == [
        '| 6x | 1800 | pre-training | 40.0 | 40.0 | 40.0 | 40.0 |',
        '| 6x | 1800 | random init | 40.2 | 40.2 | 40.2 | 40.2 |',
        '| 1x | 300 | pre-training | 30.0 | 30.0 | 30.0 | 30.0 |',
        '| 1x | 300 | random init | 20.0 | 20.0 | 20.0 | 20.0 |',
    ]


def test_an_unfinished_run_gives_no_verdict():
    unfinished = run(30)
    del unfinished.val[300]
    with pytest.raises(ValueError, match='is not finished: its log ends at 200 of 300'):
        convergence.verdict([Pair('1x', unfinished, run(20)), *pairs()], 1.0)


def test_nothing_detected_is_an_ap_of_zero():
    nothing = run(30)
    nothing.val[300] = dict(time=0.1)
    assert Pair('1x', nothing, run(20)).gap() == -20


def test_seeds_are_averaged_with_the_spread_of_the_gap():
    table = convergence.seeds_table({0: pairs((30, 20), (40, 40)), 1: pairs((32, 20), (40, 42))})
    assert table.splitlines()[2:] == [
        '| 0 | 40.0 | 40.0 | +0.0 | 30.0 | 20.0 | +10.0 |',
        '| 1 | 40.0 | 42.0 | -2.0 | 32.0 | 20.0 | +12.0 |',
        '| mean | 40.0 | 41.0 | -1.0 ± 1.4 | 31.0 | 20.0 | +11.0 ± 1.4 |',
    ]


def test_the_picture_shows_both_arms(tmp_path):
    convergence.draw(pairs(), tmp_path / 'curve', 'a title')
    text = ' '.join(ElementTree.parse(tmp_path / 'curve.svg').getroot().itertext())
    image = cv2.imread(str(tmp_path / 'curve.png')).reshape(-1, 3).astype(int)
    # tab:purple and tab:grey, in BGR.
    for colour in ((189, 103, 148), (127, 127, 127)):
        assert (np.abs(image - colour).sum(1) < 12).sum() > 200
    assert text is not None


def test_an_unfinished_pair_is_drawn_as_far_as_it_is(tmp_path):
    empty = Run(tmp_path / 'nothing')
    convergence.draw([Pair('1x', run(30), empty)], tmp_path / 'curve', 'a title')
    assert (tmp_path / 'curve.png').stat().st_size > 10_000
