"""The report as one HTML page that needs nothing else: no network, on paper and a phone, dark and light."""

import base64
import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jinja2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from bokeh.embed import components
from bokeh.resources import Resources
from bokeh.themes import Theme
from markupsafe import Markup
from matplotlib.axes import Axes

from ..analysis import class_gains
from ..analysis.pictures import GREY, LOOKS
from ..configs.report import page_tables
from ..costs.report import AP, draw_ap
from . import curves, precision_recall, tables
from .classes import IOUS, Classes
from .figures import Line
from .findings import Findings
from .gallery import MISSED, RIGHT, WRONG

LIMIT = 2_000_000  # bytes
THEME = Theme(
    json=dict(
        attrs=dict(
            Plot=dict(background_fill_color=None, border_fill_color=None, outline_line_color=None),
            Axis=dict(
                axis_label_text_color=GREY,
                axis_label_text_font_style='normal',
                major_label_text_color=GREY,
                major_label_text_font_size='12px',
                axis_line_color=GREY,
                major_tick_line_color=GREY,
                minor_tick_line_color=None,
            ),
            Grid=dict(grid_line_color=GREY, grid_line_alpha=0.25),
            Legend=dict(
                click_policy='hide',
                location='top_left',
                background_fill_color=None,
                border_line_color=None,
                label_text_color=GREY,
                label_text_font_size='13px',
                glyph_width=34,
                spacing=1,
                margin=0,
            ),
        )
    )
)


def write(found: Findings) -> str:
    """The page, without the curves of each class and with fewer pictures where it would be larger than 2 MB."""
    text = _page(found)
    if len(text.encode()) > LIMIT and any(precision_recall.rows_of(one, True) for one in found.classes):
        text = _page(found, of_classes=False)
    left = list(found.gallery.pictures) if found.gallery else []
    over = len(text.encode()) - LIMIT
    while over > 0 and left:
        last = left.pop()
        over -= sum(4 * len(one) // 3 for one in (last.truth, *last.detections))
    if found.gallery and len(left) < len(found.gallery.pictures):
        why = 'Pictures are left away so that this page stays below 2 MB.'
        text = _page(replace(found, gallery=replace(found.gallery, pictures=left, why=why)), of_classes=False)
    return text


def _page(found: Findings, of_classes: bool = True) -> str:
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template.filters['jpeg'] = lambda picture: f'data:image/jpeg;base64,{base64.b64encode(picture).decode()}'
    charts = curves.charts(found)
    script, divisions = components([one.live() for one in charts], theme=THEME) if charts else ('', ())
    library = Resources(mode='inline', components=['bokeh']).render_js() if charts else ''
    return template.from_string(Path(__file__).with_name('page.html').read_text()).render(
        found=found,
        tables=tables,
        library=Markup(library),
        script=Markup(script),
        charts=[
            (one.title, Markup(division), svg(one.still, 2.5 + 0.19 * len(one.names)))
            for one, division in zip(charts, divisions, strict=True)
        ],
        forest=_forest(found),
        figures=[
            (f'{metric} against {x}', _panels(x, metric, panels)) for x, metric, panels in found.figures if panels
        ],
        cost=_cost(found),
        classes=[
            (one, _recalls(one, found, False), _recalls(one, found, True) if of_classes else '')
            for one in found.classes
        ],
        left_away=not of_classes and any(precision_recall.rows_of(one, True) for one in found.classes),
        gains=[
            (one, _classes(one.gains), class_gains.verdict(one.gains)) if one.gains else (one, '', one.why)
            for one in found.gains
        ],
        differences=[(pair, Markup(page_tables(pair.differences))) for pair in found.pairs],
        colours=dict(right=RIGHT, wrong=WRONG, missed=MISSED),
    )


# --- plots that stand still ------------------------------------------------------------------------------------------


def svg(draw: Callable[[Axes], None], height: float) -> Markup:
    """What ``draw`` draws, as part of a page.

    Args:
        height: in inches; it is 4.6 wide, so that text can be read on a phone.
    """

    def on_one(grid: np.ndarray) -> None:
        (axes,) = grid.flat
        draw(axes)
        axes.spines[['top', 'right']].set_visible(False)

    return svg_of_panels(on_one, height, 1, 1)


def svg_of_panels(draw: Callable[[np.ndarray], None], height: float, rows: int, columns: int) -> Markup:
    """What ``draw`` draws on (rows, columns) axes: black is the colour of the page's text, and ids are its own."""
    names = {'svg.fonttype': 'none', 'svg.hashsalt': 'page', 'text.parse_math': False, 'font.size': 9}
    with matplotlib.rc_context(names):
        drawing, grid = plt.subplots(rows, columns, figsize=(4.6, height), squeeze=False, layout='constrained')
        draw(grid)
        text = io.StringIO()
        drawing.savefig(text, format='svg', transparent=True)
        plt.close(drawing)
    found = text.getvalue()
    found = re.sub(r'<metadata>.*?</metadata>', '', found[found.index('<svg') :], flags=re.DOTALL)
    found = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r'\1', re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', found, count=1), count=1
    )
    # Tenths of a point are enough.
    found = re.sub(r' d="[^"]*"', lambda path: re.sub(r'(\.\d)\d+', r'\1', path[0]), found)
    found = re.sub('#696969|#d3d3d3', GREY, found)  # dimgrey and lightgrey
    found = re.sub(r'#000000|\bblack\b', 'currentColor', found)
    own = f'p{next(_numbers)}-'
    return Markup(re.sub(r'(\bid="|url\(#|href="#)', rf'\g<1>{own}', found))


_numbers = itertools.count()


def _forest(found: Findings) -> Markup:
    """Each claim's interval, by its number, with what was published."""
    known = [(at, one) for at, one in enumerate(found.claims, 1) if one.value is not None]
    if not known:
        return Markup()

    def draw(axes: Axes) -> None:
        colours = dict(shown=LOOKS[2].colour, contradicted=LOOKS[3].colour)
        for at, one in enumerate(found.claims, 1):
            look = dict(color=colours.get(one.verdict, GREY))
            if one.low is not None:
                axes.plot(
                    (one.low, one.high), (at, at), linewidth=2.5, solid_capstyle='butt', label='95 % interval', **look
                )
            if one.value is not None:
                axes.plot(one.value, at, marker='o', linestyle='', label='measured', **look)
            if one.published is not None:
                axes.plot(one.published, at, 'D', color='black', fillstyle='none', label='published')
        axes.axvline(0, color='black', linewidth=0.8)
        axes.set_yticks(range(1, len(found.claims) + 1))
        axes.set_ylim(len(found.claims) + 0.6, 0.4)
        axes.grid(alpha=0.25, axis='x')
        axes.set(xlabel='ahead by, points', ylabel='claim')
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.figure.legend(handles.values(), handles, frameon=False, loc='outside lower center', ncols=3)

    return svg(draw, 1.1 + 0.25 * len(found.claims))


def _panels(x: str, metric: str, panels: dict[str, dict[str, Line]]) -> list[tuple[str, Markup]]:
    looks = curves.in_turn(dict.fromkeys(itertools.chain(*panels.values())))
    return [(name, _against(x, metric, lines, looks)) for name, lines in panels.items()]


def _against(x: str, metric: str, lines: dict[str, Line], looks: dict[str, curves.Look]) -> Markup:
    """Results against a number; whiskers are standard deviations over seeds and reruns."""

    def draw(axes: Axes) -> None:
        for name, points in lines.items():
            at, mean, spread = zip(*points, strict=True)
            axes.errorbar(
                at, mean, yerr=spread if any(spread) else None, markersize=3.5, label=name, **looks[name].on_paper
            )
        every = [one[0] for points in lines.values() for one in points]
        if min(every) > 0 and max(every) >= 50 * min(every):
            axes.set_xscale('log')
        axes.grid(alpha=0.25)
        axes.set(xlabel=x, ylabel=metric)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if any(spread for points in lines.values() for _, _, spread in points):
            handles['bars: standard deviation over seeds and reruns'] = axes.plot([], [], '|', color='black')[0]
        axes.figure.legend(handles.values(), handles, frameon=False, loc='outside lower center')

    return svg(draw, 2.5 + 0.19 * len(lines))


def _cost(found: Findings) -> Markup:
    costs = [one.cost for one in found.costs if one.cost]
    if not costs:
        return Markup()
    aps = {one.run: AP(one.ap, 'measured') for one in found.costs if one.cost}

    def draw(axes: Axes) -> None:
        draw_ap(axes, costs, aps)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        axes.get_legend().remove()
        axes.figure.legend(handles.values(), handles, frameon=False, loc='outside lower center')
        axes.set(ylabel=found.metric, xlabel='operations of a training step (GFLOP)')

    return svg(draw, 3.4)


def _recalls(one: Classes, found: Findings, of_classes: bool) -> Markup:
    """Precision against recall: the mean over classes, or each of a few."""
    rows = precision_recall.rows_of(one, of_classes)
    if not rows or not one.arms:
        return Markup()
    look = precision_recall.looks(found.classes)

    def draw(grid: np.ndarray) -> None:
        precision_recall.draw(one, rows, grid, look)
        precision_recall.add_legend(grid[0, 0].figure, 2)

    return svg_of_panels(draw, 0.6 + 0.1 * len(one.arms) + 1.9 * len(rows), len(rows), len(IOUS))


def _classes(gains: class_gains.Gains) -> Markup:
    def draw(axes: Axes) -> None:
        class_gains.draw_classes(axes, gains)
        axes.axhline(0, color='black', linewidth=0.8)
        axes.figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc='outside lower center', ncols=2)

    return svg(draw, 3.4)
