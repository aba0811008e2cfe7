"""Study B's table of results, what it says of the claims, and its pictures: on tables whose answers are known."""

import xml.etree.ElementTree as ElementTree
from functools import partial

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from rethink.errors import ConfigError
from rethink.studies import hpt, hpt_figures
from rethink.studies.hpt import Result, Table


def runs(dataset, chain, steps, *values, protocol='linear', val=True, metric='accuracy', **more) -> list[Result]:
    """One row for each value; val is the value unless it is given, or None."""
    vals = values if val is True else [None] * len(values) if val is None else val
    return [
        Result(dataset, chain, steps, protocol, metric, str(rerun), value, one, **more)
        for rerun, (value, one) in enumerate(zip(values, vals, strict=True))
    ]


def convergence() -> list[Result]:
    """B+T at 5k against T at its best: ahead, level, behind, and without T."""
    return [
        *runs('aerial', 'B', 0, 70, 70, 70),
        *runs('aerial', 'T', 5_000, 50, 51, 52),
        *runs('aerial', 'T', 50_000, 68, 69, 70),
        *runs('aerial', 'T', 200_000, 79, 80, 81),
        *runs('aerial', 'B+T', 500, 77, 78, 79),
        *runs('aerial', 'B+T', 5_000, 89, 90, 91),
        *runs('street', 'T', 50_000, 80.5, 81, 81.5),
        *runs('street', 'T', 200_000, 80, 81.5, 83),
        *runs('street', 'B+T', 500, 70, 71, 72),
        *runs('street', 'B+T', 5_000, 80, 80.5, 81),
        *runs('drawn', 'B', 0, 40, 41),
        *runs('drawn', 'T', 200_000, 75, 75),
        *runs('drawn', 'B+T', 500, 50, 50),
        *runs('drawn', 'B+T', 5_000, 60, 60),
        *runs('xray', 'B+T', 5_000, 88, 89),
    ]


# --- the table -------------------------------------------------------------------------------------------------------


def test_a_table_is_read_as_it_was_written(tmp_path):
    written = [
        *convergence(),
        Result('aerial', 'B+S+T-BN', 5_000, 'semi_1000', 'top, 1', 'seed 1', None),
        *runs('aerial', 'T', 50, 33.25, val=None, policy='crop only', share=0.01),
    ]
    (tmp_path / 'a.csv').write_text(hpt.to_csv(written))
    assert hpt.read_csv(tmp_path / 'a.csv') == written
    short = 'dataset,chain,steps,protocol,metric,rerun,value\naerial,T,50,linear,accuracy,0,33.25\n'
    (tmp_path / 'b.csv').write_text(short)
    assert hpt.read_csv(tmp_path / 'b.csv') == [Result('aerial', 'T', 50, 'linear', 'accuracy', '0', 33.25)]


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('aerial,HPT,50,linear,accuracy,0,1,1,full,1', r"csv:3: 'HPT' is no chain"),
        ('aerial,B,50,linear,accuracy,0,1,1,full,1', "steps of B are '50', and are to be 0"),
        ('aerial,T,0,linear,accuracy,0,1,1,full,1', "steps of T are '0', and are to be a whole number above 0"),
        ('aerial,T,5k,linear,accuracy,0,1,1,full,1', "steps of T are '5k'"),
        ('aerial,T,5,lineer,accuracy,0,1,1,full,1', "'lineer' is no protocol"),
        ('aerial,T,5,linear,accuracy,0,good,1,full,1', "value is 'good'"),
        ('aerial,T,5,linear,accuracy,0,nan,1,full,1', "value is 'nan'"),
        ('aerial,T,5,linear,accuracy,0,1,-1,full,1', "val is '-1', and is to be a number from 0 to 100"),
        ('aerial,T,5,linear,accuracy,0,1,1,full,10', 'share is 10, and is to be above 0'),
        ('aerial,T,5,linear,accuracy,0,1', 'not as many entries as columns'),
        ('aerial,T,5,linear,accuracy,0,1,1,full,1,2', 'not as many entries as columns'),
    ],
)
def test_a_wrong_row_is_one_sentence(tmp_path, row, message):
    good = 'aerial,T,5,linear,accuracy,1,1,1,full,1'
    (tmp_path / 'a.csv').write_text('\n'.join([','.join(hpt.COLUMNS), good, row]))
    with pytest.raises(ConfigError, match=message):
        hpt.read_csv(tmp_path / 'a.csv')


def test_what_is_no_table_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match='cannot be read'):
        hpt.read_csv(tmp_path / 'none.csv')
    (tmp_path / 'a.csv').write_text('dataset,chain\n')
    with pytest.raises(ConfigError, match='has no column steps, protocol, metric, rerun, value;'):
        hpt.read_csv(tmp_path / 'a.csv')
    with pytest.raises(ConfigError, match="T after 5 steps has the rerun '0' twice"):
        Table([*runs('aerial', 'T', 5, 1), *runs('aerial', 'T', 5, 2)])
    two = [*runs('aerial', 'T', 5, 1), *runs('aerial', 'T', 5, 2, metric='mAP')]
    with pytest.raises(ConfigError, match='aerial has both accuracy and mAP in linear evaluation'):
        Table(two)
    assert [point.values for point in Table(two, ['mAP']).points('aerial', 'linear', 'T')] == [(2,)]


# --- comparisons -----------------------------------------------------------------------------------------------------


def test_numbers_of_steps_are_chosen_by_val():
    short, long = runs('aerial', 'B+T', 500, 80, val=[91]), runs('aerial', 'B+T', 5_000, 90, val=[90])
    assert hpt.best(Table([*short, *long]).points('aerial', 'linear', 'B+T')).steps == 500
    without = Table([*short, *runs('aerial', 'B+T', 5_000, 90, val=None)])
    assert hpt.best(without.points('aerial', 'linear', 'B+T')).steps == 5_000


def robust() -> list[Result]:
    return [
        *runs('aerial', 'T', 50_000, 80, 81, 82),
        *runs('aerial', 'T', 200_000, 85, 86, 87),
        *runs('aerial', 'T', 50_000, 70, 71, 72, policy='no grey'),
        *runs('aerial', 'T', 50_000, 60, 61, 62, policy='crop only'),
        *runs('aerial', 'B+T', 5_000, 90, 91, 92),
        *runs('aerial', 'B+T', 5_000, 88, 89, 90, policy='no grey'),
        *runs('aerial', 'B+T', 5_000, 85, 86, 87, policy='crop only'),
        *runs('aerial', 'B+T', 5_000, 10, 11, 12, policy='none'),
        *runs('aerial', 'B+T', 5_000, 90, 91, 92, share=0.1),
        *runs('street', 'T', 50_000, 80, 81, share=0.5),
        *runs('street', 'T', 50_000, 80, 81),
        *runs('street', 'B+T', 5_000, 80, 81, share=0.5),
        *runs('street', 'B+T', 5_000, 80, 81),
    ]


def test_robustness_is_at_one_number_of_steps():
    table = Table(robust())
    curve = hpt.robustness(table, 'aerial', 'linear', 'T', 'policy')
    assert [(value, point.steps, point.mean) for value, point in curve.items()] == [
        ('full', 50_000, 81),
        ('no grey', 50_000, 71),
        ('crop only', 50_000, 61),
    ]
    assert list(hpt.robustness(table, 'aerial', 'linear', 'T', 'share')) == [1.0]
    assert hpt.robustness(table, 'aerial', 'linear', 'T', 'share')[1.0].steps == 200_000
    assert hpt.robustness(table, 'drawn', 'linear', 'T', 'share') == {}
    assert hpt.conditions(table, 'linear', 'share') == [1.0, 0.5, 0.1]


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.fixture
def figure(monkeypatch):
    """Draw, and keep the figure as well."""

    def keep(draw, *arguments):
        monkeypatch.setattr(hpt_figures.plt, 'close', lambda figure: None)
        assert draw(*arguments)
        kept.append(hpt_figures.plt.gcf())
        monkeypatch.undo()
        return kept[-1]

    kept = []
    yield keep
    for one in kept:
        hpt_figures.plt.close(one)


def pixels(path, colour: str) -> np.ndarray:
    """Where the PNG has a colour: (height, width) of bool."""
    image = cv2.imread(f'{path}.png').astype(int)
    bgr = [round(255 * part) for part in reversed(to_rgb(colour))]
    return np.abs(image - bgr).sum(2) < 12


def crosses(axes) -> list[tuple[str, list[float]]]:
    return [(line.get_color(), list(line.get_xdata())) for line in axes.lines if line.get_marker() == 'x']


PURPLE, BLUE, GREY = 'tab:purple', 'tab:blue', 'tab:grey'


def test_steps_have_a_panel_for_each_data_set(figure, tmp_path):
    drawn = figure(hpt_figures.draw_steps, Table(convergence()), tmp_path / 'steps_3.5k')
    panels = {axes.get_title(): axes for axes in drawn.axes}
    assert list(panels) == ['aerial', 'street', 'drawn', 'xray']
    aerial = panels['aerial']
    assert aerial.get_xscale() == 'log' and aerial.get_ylabel() == 'accuracy'
    lines = {line.get_color(): line for line in aerial.lines if line.get_marker() == 'o'}
    assert lines[PURPLE].get_xydata().tolist() == [[5_000, 51], [50_000, 69], [200_000, 80]]
    assert lines[BLUE].get_xydata().tolist() == [[500, 78], [5_000, 90]]
    (band,) = [one for one in aerial.collections if one.get_paths()[0].vertices[:, 1].max() == 81]
    assert band.get_paths()[0].vertices[:, 1].min() == 50
    (base,) = [line for line in aerial.lines if line.get_linestyle() == '--']
    assert base.get_ydata() == [70, 70]
    # Each point that another data set has is missing here.
    assert crosses(aerial) == []
    assert crosses(panels['street']) == [(PURPLE, [5_000])]
    assert crosses(panels['xray']) == [(PURPLE, [5_000, 50_000, 200_000]), (BLUE, [500])]
    assert [text.get_text() for text in panels['street'].texts] == ['no B']
    legend = [text.get_text() for text in drawn.legends[0].texts]
    assert legend == ['B', 'T', 'B+T', 'missing']
    left, *_, right = np.array_split(pixels(tmp_path / 'steps_3.5k', PURPLE), 4, axis=1)
    assert left.sum() > 3 * right.sum() > 0
    assert (pixels(tmp_path / 'steps_3.5k', GREY) | pixels(tmp_path / 'steps_3.5k', BLUE)).sum() > 300
    ElementTree.fromstring((tmp_path / 'steps_3.5k.svg').read_text())


@pytest.mark.parametrize(('number', 'rows', 'columns'), [(1, 1, 1), (4, 1, 4), (16, 4, 4)])
def test_one_to_sixteen_data_sets(figure, tmp_path, number, rows, columns):
    results = [one for index in range(number) for one in runs(f'set {index}', 'B+T', 500, 70 + index, 72 + index)]
    drawn = figure(hpt_figures.draw_steps, Table(results), tmp_path / 'steps')
    assert len(drawn.axes) == number
    assert drawn.axes[0].get_gridspec().get_geometry() == (rows, columns)
    image = pixels(tmp_path / 'steps', BLUE)
    # The part above the legend, by panels.
    for row in np.array_split(image[: int(len(image) * (1 - 0.12 / rows))], rows):
        for panel in np.array_split(row, columns, axis=1):
            assert panel.sum() > 10


def test_bars_are_the_means_and_a_cross_is_what_is_missing(figure, tmp_path):
    semi = partial(runs, protocol='semi_1000')
    table = Table(
        [
            *semi('aerial', 'B', 0, 60, 62),
            *semi('aerial', 'T', 5_000, 20, 22),
            *semi('aerial', 'T', 200_000, 50, 52),
            *semi('aerial', 'B+T', 5_000, 80, 82),
            *semi('street', 'B', 0, 40),
            *semi('street', 'B+T', 5_000, 90),
        ]
    )
    drawn = figure(hpt_figures.draw_bars, table, table.protocols('semi'), tmp_path / 'semi')
    (axes,) = drawn.axes
    heights = {bar.get_facecolor()[:3]: [] for bar in axes.patches}
    for bar in axes.patches:
        heights[bar.get_facecolor()[:3]].append(bar.get_height())
    assert heights == {to_rgb(GREY): [61, 40], to_rgb(PURPLE): [51], to_rgb(BLUE): [81, 90]}
    assert [text.get_text() for text in axes.texts] == ['61.0', '40.0', '51.0', '81.0', '90.0']
    ((colour, places),) = crosses(axes)
    # T's bar stands between those of B and B+T, also where it is missing.
    assert colour == PURPLE and places == [pytest.approx(1.0)]
    areas = [pixels(tmp_path / 'semi', colour).sum() for colour in (GREY, PURPLE, BLUE)]
    assert areas[1] / areas[0] == pytest.approx(51 / (61 + 40), rel=0.15)
    assert areas[2] / areas[0] == pytest.approx((81 + 90) / (61 + 40), rel=0.15)


def test_many_data_sets_and_protocols_are_rows_of_bars(figure, tmp_path):
    results = []
    for protocol in ('semi_1000', 'semi_all'):
        for index in range(8):
            results += runs(f'set {index}', 'B+T', 5_000, 70, protocol=protocol)
    drawn = figure(hpt_figures.draw_bars, Table(results), ['semi_1000', 'semi_all'], tmp_path / 'semi')
    assert [axes.get_title() for axes in drawn.axes] == ['semi_1000', 'semi_1000', 'semi_all', 'semi_all']
    assert [len(axes.patches) for axes in drawn.axes] == [6, 2, 6, 2]


def test_robustness_curves_break_where_a_run_is_missing(figure, tmp_path):
    drawn = figure(hpt_figures.draw_robustness, Table(robust()), 'linear', 'policy', tmp_path / 'policy')
    (axes,) = drawn.axes
    assert axes.get_title() == 'aerial\nT 50k, B+T 5k steps'
    assert [label.get_text() for label in axes.get_xticklabels()] == ['full', 'no\ngrey', 'crop\nonly', 'none']
    lines = {line.get_color(): list(line.get_ydata()) for line in axes.lines if line.get_marker() == 'o'}
    assert lines[BLUE] == [91, 89, 86, 11]
    assert lines[PURPLE][:3] == [81, 71, 61] and np.isnan(lines[PURPLE][3])
    assert crosses(axes) == [(PURPLE, [3])]
    drawn = figure(hpt_figures.draw_robustness, Table(robust()), 'linear', 'share', tmp_path / 'share')
    assert [axes.get_title().split('\n')[0] for axes in drawn.axes] == ['aerial', 'street']
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ['100 %', '50 %', '10 %']
    assert pixels(tmp_path / 'share', PURPLE).sum() > 50 and pixels(tmp_path / 'share', BLUE).sum() > 50


def test_nothing_to_draw_is_no_picture(tmp_path):
    table = Table(runs('VOC', 'B', 0, 55, protocol='detection'))
    assert not hpt_figures.draw_steps(table, tmp_path / 'a')
    assert not hpt_figures.draw_bars(table, table.protocols('semi'), tmp_path / 'a')
    assert not hpt_figures.draw_robustness(table, 'detection', 'share', tmp_path / 'a')
    assert not list(tmp_path.iterdir())


# --- the tool --------------------------------------------------------------------------------------------------------


def test_the_tool_writes_a_table_and_pictures(tmp_path, run_in_process):
    tool = partial(run_in_process, 'analysis_tools/hpt_figures.py')
    (tmp_path / 'a.csv').write_text(hpt.to_csv(convergence()))
    more = [one for one in robust() if one.share != 1 or one.policy != 'full']
    (tmp_path / 'b.csv').write_text(hpt.to_csv(more))
    code, _ = tool(tmp_path / 'a.csv', tmp_path / 'b.csv', '--out', tmp_path / 'out')
    assert code is None
    names = {f'{name}.{suffix}' for name in ('steps', 'policy', 'share') for suffix in ('png', 'svg')}
    assert {path.name for path in (tmp_path / 'out').iterdir()} == names | {'results.csv'}
    assert len(hpt.read_csv(tmp_path / 'out' / 'results.csv')) == len(convergence()) + len(more)


def test_the_tool_refuses_in_one_sentence(tmp_path, run_in_process):
    tool = partial(run_in_process, 'analysis_tools/hpt_figures.py')
    (tmp_path / 'a.csv').write_text(hpt.to_csv(convergence()))
    code, printed = tool(tmp_path / 'a.csv', '--metric', 'AP', '--out', tmp_path / 'out')
    assert code == 2 and 'has no row to draw; check --metric.' in printed
    code, printed = tool(tmp_path / 'a.csv', tmp_path / 'a.csv', '--out', tmp_path / 'out')
    assert code == 2 and 'twice; name reruns differently.' in printed
    assert not (tmp_path / 'out').exists()
