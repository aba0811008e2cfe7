"""The page: that it needs nothing from elsewhere, runs nothing that it was told, is small, and has what it should."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rethink.analysis.class_gains import Gains
from rethink.analysis.pictures import ARMS
from rethink.configs.report import Row, Rows
from rethink.costs.counters import StepCost
from rethink.costs.of_config import Cost
from rethink.studies import answer, curves, page
from rethink.studies.claims import CONTRADICTED, OPEN, SHOWN, Claim
from rethink.studies.classes import IOUS, Arm, Classes
from rethink.studies.findings import Costed, Curve, Findings, Gained, Pair, Result
from rethink.studies.gallery import Gallery, Picture

EVIL = '<script>alert(1)</script>"\'&</title>'
AP = 'coco/bbox_mAP'


class Page(HTMLParser):
    """Tags with their attributes, and the text of scripts, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.scripts, self.styles, self.said, self.open = [], [], [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag

    def handle_endtag(self, tag):
        self.open = ''

    def handle_data(self, data):
        dict(script=self.scripts, style=self.styles).get(self.open, self.said).append(data)

    @property
    def ids(self) -> list[str]:
        return [attributes['id'] for _, attributes in self.tags if 'id' in attributes]


def gains(name: str = 'x', classes: int = 6) -> Gains:
    random = np.random.default_rng(0)
    base = random.uniform(0, 60, (2, classes, 4))
    groups = ['rare', 'common', 'frequent'] * (classes // 3)
    names = [f'{name}{at}' for at in range(classes)]
    counts = random.integers(1, 100, classes)
    return Gains(names, groups, counts, counts, base, base + random.normal(1, 2, base.shape), arms=('a', 'b'))


def classes(evil: str = '', number: int = 2, seeds: int = 2, arms=('scratch', 'finetune')) -> Classes:
    """As of detectors that are right less often the more they find; the last of several classes has no object."""
    random = np.random.default_rng(0)
    steep = random.uniform(0.5, 4, (len(arms), seeds, len(IOUS), number, 1))
    precision = np.clip(1 - np.linspace(0, 1, 101) ** 2 * steep, 0, 1)
    objects = np.array([*range(number, 1, -1), int(number == 1)])
    precision[..., objects == 0, :] = np.nan
    both = zip(arms, precision, strict=True)
    of = [Arm(name + evil, f'{name}_run{evil}', 100 * one.mean((1, 3)), one) for name, one in both]
    return Classes(f'fpn, 6x{evil}', 'box AP', tuple(f'class {at}{evil}' for at in range(number)), objects, of)


def filled(evil: str = '', runs: int = 2, seeds: int = 1, points: int = 4, jpeg: bytes = b'jpeg') -> Findings:
    """Findings with something of everything; ``evil`` is in every text."""
    names = [f'run{at}{evil}' for at in range(runs)]
    claims = [
        Claim(f'one{evil}', f'x{evil}', SHOWN, 3.0, 1.0, 5.0, f'how{evil}', 2.0),
        Claim('two', '', CONTRADICTED, -3.0, -5.0, -1.0, 'bootstrap'),
        Claim('three', '', OPEN, how='no result', published=1.0),
    ]
    step = StepCost(dict(backbone=1), dict(backbone=2), dict(backbone=3))
    cost = Cost(names[0], 10, 5, dict(backbone=(4, 2)), step, {}, None, None)
    row = Row('init', f'model{evil}', (f'also{evil}',), (f'1{evil}', '2'), (f'a.py{evil}', 'b.py:2'))
    values = np.random.default_rng(0).uniform(0, 60, points).tolist()
    return Findings(
        title=f'Title{evil}',
        question=f'Question{evil}',
        about=f'About{evil}',
        study=f'study{evil}.yml',
        out=f'out{evil}',
        metric=AP,
        seeds=tuple(range(seeds)),
        finished=1,
        total=2,
        claims=claims,
        results=[Result(name, AP + evil, dict.fromkeys(range(seeds), 1.0), 2.0, f'waiting{evil}') for name in names],
        curves=[Curve(name, seed, AP, False, list(enumerate(values, 1))) for name in names for seed in range(seeds)],
        pairs=[Pair((names[0], names[1]), Rows([row], 'folder'))],
        costs=[Costed(names[0], 30.0, cost), Costed(names[1], None, why=f'not finished{evil}')],
        classes=[classes(evil), Classes('gone', 'box AP', (), np.array([]), [], f'run: gone{evil}')],
        gains=[Gained((names[0], names[1]), gains(f'x{evil}')), Gained((names[0], names[1]), why=f'gone{evil}')],
        gallery=Gallery(
            (names[0], names[1]), 0, [Picture(f'1{evil}.jpg', (1.0, 2.0), jpeg, (jpeg, jpeg))], (1, 2, 3), f'why{evil}'
        ),
        failed=[(f'run{evil}', f'error{evil}')],
        versions={f'torch{evil}': 2},
        commands=[(names[0], f'python{evil}')],
        figures=[(f'length{evil}', AP, {f'panel{evil}': {f'line{evil}': [(1.0, 10.0, 0.0), (6.0, 20.0, 1.0)]}})],
    )


def test_nothing_is_loaded_from_elsewhere():
    found = Page(page.write(filled()))
    for tag, attributes in found.tags:
        assert tag not in ('link', 'iframe', 'object', 'embed', 'base')
        for key in ('src', 'href', 'xlink:href', 'srcset', 'action', 'data'):
            assert re.match(r'#|data:image/jpeg;base64,', attributes.get(key) or '#'), (tag, attributes)
        assert 'url(' not in re.sub(r'url\(#[\w-]+\)', '', attributes.get('style') or '')
    style = ''.join(found.styles)
    assert '@import' not in style and 'url(' not in style
    policy = [one['content'] for tag, one in found.tags if one.get('http-equiv') == 'Content-Security-Policy']
    assert policy[0].startswith("default-src 'none'") and 'http' not in policy[0]


def test_what_a_study_says_is_never_markup():
    clean, found = (Page(page.write(filled(evil))) for evil in ('', EVIL))
    # A name may break at its separators.
    tags = [[tag for tag, _ in one.tags if tag != 'wbr'] for one in (clean, found)]
    assert tags[0] == tags[1]
    assert ''.join(found.said).count('<script>alert(1)</script>') >= 20
    assert not any(script.startswith('alert') for script in found.scripts)
    assert not [attributes for _, attributes in found.tags if any('onerror' in key for key in attributes)]
    assert '<script>' not in re.sub(r'```.*?```|`[^`\n]*`', '', answer.markdown(filled(EVIL)), flags=re.DOTALL)


def test_a_large_study_stays_below_two_megabytes_and_says_what_that_took():
    found = filled(runs=60, seeds=3, points=60, jpeg=b'x' * 25_000)
    found = replace(found, pairs=found.pairs * 100, claims=found.claims * 30, commands=found.commands * 180)
    found = replace(found, gallery=replace(found.gallery, pictures=found.gallery.pictures * 6))
    text = page.write(found)
    assert len(text.encode()) < 2_000_000
    assert text.count('data:image/jpeg') < 18 and 'Pictures are left away' in text


def test_curves_are_on_paper_too_and_the_library_is_there_only_with_them():
    text = page.write(filled(runs=3))
    still = re.search(r'<div class="still">(.*?)</div>', text, re.DOTALL)[1]
    assert all(f'>run{at}<' in still for at in range(3)) and '>iteration<' in still
    assert re.search(r'@media print.*\.js \.still \{ display: block \}', text, re.DOTALL)
    without = page.write(replace(filled(), curves=[]))
    assert len(without) < 200_000 < len(text) and 'Nothing has been measured twice yet' in without


def arms() -> list[Curve]:
    """Two arms on two schedules in two detectors, twice, the second seed of the last one half-way."""
    found = [
        Curve(f'{arm}_{panel}_{x}', seed, AP, False, [(10, 1.0 + seed), (20, 5.0 + seed)], panel, arm, x)
        for panel in ('fpn', 'cascade')
        for arm in ('scratch', 'freeze')
        for x in ('1x', '6x')
        for seed in (0, 1)
    ]
    return [*found[:-1], replace(found[-1], points=found[-1].points[:1])]


@pytest.mark.parametrize(('highest', 'top'), [(5, (5, 10)), (70, (70, 80)), (100, (100.5, 100.5))])
def test_no_panel_of_a_picture_cuts_off_its_curves(monkeypatch, highest, top):
    """They share the axis of AP, whichever is the higher one; and 100 is the end."""
    for higher in ('fpn', 'cascade'):
        drawn = [
            replace(
                one, points=[(at, highest * value / 6 if one.panel == higher else 1.0) for at, value in one.points]
            )
            for one in arms()
        ]
        monkeypatch.setattr(curves.plt, 'close', lambda drawing: None)
        curves.picture(replace(filled(), curves=drawn))
        for axes in curves.plt.gcf().axes:
            low, high = axes.get_ylim()
            assert low == 0 and top[0] <= high <= top[1], higher


def test_a_curve_is_drawn_as_the_first_figure_of_its_study_says(monkeypatch):
    found = replace(filled(), curves=arms())
    one, other = curves.charts(found)
    assert (one.title, other.title) == (f'{AP}, fpn', f'{AP}, cascade')
    assert one.looks['scratch_fpn_1x'] == one.looks['scratch_cascade_1x'] == (0, 0)
    # The look of an arm, not the next that is free.
    assert one.looks['freeze_fpn_6x'] == (ARMS['freeze'], 1) == (2, 1)
    monkeypatch.setattr(curves.plt, 'close', lambda drawing: None)
    assert Image.open(io.BytesIO(curves.picture(found))).format == 'PNG'
    drawing = curves.plt.gcf()
    assert [axes.get_title() for axes in drawing.axes] == ['fpn', 'cascade']
    (legend,) = drawing.legends
    named = ['scratch, 1x', 'scratch, 6x', 'freeze, 1x', 'freeze, 6x']
    assert [text.get_text() for text in legend.texts] == [*named, 'band: all seeds, line: their mean']
    # The mean of both seeds, and where one has not been yet none.
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawing.axes[1].lines}
    assert lines['freeze_cascade_1x'] == [[10, 1.5], [20, 5.5]] and lines['freeze_cascade_6x'] == [[10, 1.5]]
    band = drawing.axes[0].collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1, 6)
    curves.plt.close('all')


def test_more_arms_than_colours_have_one_each_in_turn():
    many = [Curve(f'run{at}', 0, AP, False, [(1, 0.0), (2, 1.0)], arm=f'arm{at}', x='1x') for at in range(9)]
    assert len(set(curves.looks(many).values())) == 9


def test_ids_are_unique_and_the_contents_lead_somewhere():
    found = Page(page.write(filled()))
    assert len(set(found.ids)) == len(found.ids)
    links = [attributes['href'][1:] for tag, attributes in found.tags if tag == 'a' and 'href' in attributes]
    assert len(links) == 10 and set(links) <= set(found.ids)


def test_plots_have_the_colour_of_the_text():
    found = filled()
    drawn = [page._forest(found), page._cost(found), page._classes(gains())]
    for one in drawn:
        assert 'currentColor' in one and '#000000' not in one and '<metadata>' not in one and '>ahead by' in drawn[0]
    # Three claims, two with intervals, one with what was published alone.
    assert page._forest(replace(found, claims=[Claim('c', '', OPEN)])) == ''


@pytest.mark.parametrize('part', ['claims', 'results', 'pairs', 'costs', 'classes', 'gains', 'failed', 'commands'])
def test_each_part_may_be_missing(part):
    found = replace(filled(), **{part: []})
    assert Page(page.write(found)).ids and answer.markdown(found)
    assert Page(page.write(replace(found, gallery=None))).ids
