"""Learning curves of a study: for a page, where they can be pointed at, for paper, and as one picture.

Panel, colour and dash follow the study's first figure: in most a panel is a detector, a colour an initialisation, and
a dash a length. Where that is more than can be told apart, and without a figure, each run has the next colour.
"""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from bokeh.models import HoverTool, Legend, LegendItem, PlainText
from bokeh.plotting import figure
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle

from ..analysis.pictures import DASHES, GREY, LOOKS, places
from .findings import Curve, Findings

# Curves in one plot.
MOST = len(LOOKS) * len(DASHES)
# What a legend says of the band.
BAND = 'band: all seeds, line: their mean'


class Look(NamedTuple):
    """How a run is drawn: places in :data:`LOOKS` and :data:`DASHES`."""

    colour: int
    dash: int

    @property
    def on_paper(self) -> dict:
        """Of matplotlib's ``plot``."""
        arm = LOOKS[self.colour]
        return dict(color=arm.colour, linestyle=DASHES[self.dash][0], marker=arm.marker)


def in_turn(names: Iterable[str]) -> dict[str, Look]:
    """The look of its arm for each, or the next that is left; other dashes when all are used."""
    names = list(names)
    return {
        name: Look(place, start // len(LOOKS) % len(DASHES))
        for start in range(0, len(names), len(LOOKS))
        for name, place in places(names[start : start + len(LOOKS)]).items()
    }


def looks(curves: list[Curve]) -> dict[str, Look]:
    """Run → how it is drawn: arms in colours and, of each, what a figure has along its axis in dashes."""
    arms = list(dict.fromkeys(one.arm or one.run for one in curves))
    along = list(dict.fromkeys(one.x for one in curves))
    if len(arms) > len(LOOKS) or len(along) > len(DASHES):
        return in_turn(dict.fromkeys(one.run for one in curves))
    of = places(arms)
    return {one.run: Look(of[one.arm or one.run], along.index(one.x)) for one in curves}


@dataclass(frozen=True)
class Chart:
    """The curves of one plot."""

    metric: str
    panel: str
    unit: str
    curves: list[Curve]
    looks: dict[str, Look]

    @property
    def title(self) -> str:
        return f'{self.metric}, {self.panel}' if self.panel else self.metric

    @property
    def names(self) -> list[str]:
        """The runs, in order."""
        return list(dict.fromkeys(one.run for one in self.curves))

    def live(self) -> figure:
        """One whose points say what they are, and whose legend hides runs."""
        plot = figure(
            height=300 + 24 * len(self.names),
            sizing_mode='stretch_width',
            tools='xpan,xwheel_zoom,reset',
            toolbar_location='above',
        )
        # A finger on it scrolls the page until a tool is chosen.
        plot.toolbar.logo = plot.toolbar.active_drag = None
        lines: dict[str, list] = {}
        for name in self.names:
            at, dash = self.looks[name]
            arm = LOOKS[at]
            line = plot.line('at', 'value', source=self._source(name), color=arm.colour, line_width=2)
            line.glyph.line_dash = DASHES[dash][1]
            dots = dict(source=line.data_source, marker=arm.live, color=arm.colour, size=6, name=name)
            lines[name] = [line, plot.scatter('at', 'value', **dots)]
        tips = [('run', '$name'), ('seed', '@seed'), (self.unit, '@at{0}'), ('value', '@value{0.0}')]
        plot.add_tools(HoverTool(renderers=[dots for _, dots in lines.values()], tooltips=tips))
        legend = Legend(items=[LegendItem(label=dict(value=name), renderers=both) for name, both in lines.items()])
        plot.add_layout(legend, 'below')
        # Not as text that may hold formulas, for which Bokeh would fetch MathJax.
        plot.xaxis.axis_label, plot.yaxis.axis_label = PlainText(self.unit), PlainText(self.metric)
        return plot

    def _source(self, name: str) -> dict[str, np.ndarray]:
        """The points of a run, its seeds one after the other with a gap between."""
        found = [
            (at, value, -1 if one.seed is None else one.seed)
            for one in self.curves
            if one.run == name
            for at, value in [*one.points, (one.points[-1][0], math.nan)]
        ]
        at, value, seed = zip(*found, strict=True)
        return dict(at=np.array(at, np.int32), value=np.array(value, np.float32), seed=np.array(seed, np.int16))

    def still(self, axes: Axes) -> None:
        """For paper."""
        self.draw(axes)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)) | legend_of_bands(axes)
        axes.figure.legend(handles.values(), handles, frameon=False, loc='outside lower center')

    def draw(self, axes: Axes) -> None:
        """The mean over a run's seeds, and how far they lie apart; a curve with many points has no markers."""
        for name in self.names:
            seeds = [dict(one.points) for one in self.curves if one.run == name]
            # Where a seed has not been yet there is no mean of all.
            at = sorted(set.intersection(*map(set, seeds)))
            values = [[of[where] for of in seeds] for where in at]
            look = self.looks[name].on_paper
            if len(at) >= 20:
                look |= dict(marker='')
            axes.plot(at, [fmean(of) for of in values], label=name, markersize=3.5, **look)
            if len(seeds) > 1:
                low, high = [min(of) for of in values], [max(of) for of in values]
                band = axes.fill_between(at, low, high, color=look['color'], alpha=0.2, linewidth=0)
                mark_band(band)
        axes.grid(alpha=0.25)
        axes.set(xlabel=self.unit, ylabel=self.metric)


def mark_band(band: PolyCollection) -> None:
    """For :func:`legend_of_bands`; by a label that no legend shows, as the ids of a page are unique."""
    band.set_label(f'_{BAND}')


def legend_of_bands(axes: Axes) -> dict[str, Rectangle]:
    """The legend's entry of the bands, where there are any."""
    drawn = any(one.get_label() == f'_{BAND}' for one in axes.collections)
    return {BAND: Rectangle((0, 0), 1, 1, color=GREY, alpha=0.3, linewidth=0)} if drawn else {}


def charts(found: Findings) -> list[Chart]:
    """A plot for each metric, unit and panel, the study's own metric first; two where they are too many for one."""
    plots = []
    for (metric, by_epoch), group in _by(found.curves, lambda one: (one.metric, one.by_epoch)):
        look = looks(group)
        for panel, curves in _by(group, lambda one: one.panel):
            names = list(dict.fromkeys(one.run for one in curves))
            for start in range(0, len(names), MOST):
                part = [one for one in curves if one.run in names[start : start + MOST]]
                plots.append(Chart(metric, panel, 'epoch' if by_epoch else 'iteration', part, look))
    return sorted(plots, key=lambda chart: chart.metric != found.metric)


def _by(curves: list[Curve], key: Callable[[Curve], object]) -> Iterable[tuple[object, list[Curve]]]:
    """Groups in the order in which they first come."""
    order = list(dict.fromkeys(map(key, curves)))
    return [(of, [one for one in curves if key(one) == of]) for of in order]


def picture(found: Findings) -> bytes | None:
    """The curves of the study's metric as a PNG, panels side by side; None before anything is measured twice."""
    shown = [chart for chart in charts(found) if chart.metric == found.metric]
    if not shown:
        return None
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    size = dict(figsize=(0.8 + 4.2 * columns, 0.6 + 3.2 * rows), layout='constrained')
    entries, bands = {}, {}
    with matplotlib.rc_context({'text.parse_math': False, 'font.size': 9}):
        drawing, grid = plt.subplots(rows, columns, squeeze=False, sharey=True, **size)
        for axes, chart in zip(grid.flat, shown, strict=False):
            chart.draw(axes)
            axes.set(title=chart.panel, xlim=(0, None))
            bands |= legend_of_bands(axes)
            axes.spines[['top', 'right']].set_visible(False)
            named = {one.run: f'{one.arm}, {one.x}' if one.arm and one.x else one.run for one in chart.curves}
            handles, names = axes.get_legend_handles_labels()
            entries |= {named[name]: handle for name, handle in zip(names, handles, strict=True)}
        for axes in grid.flat[len(shown) :]:
            axes.remove()
        # Of all panels, which share it: once it is set, those that are drawn later no longer move it.
        first = grid.flat[0]
        first.set_ylim(0, None)
        values = [value for chart in shown for one in chart.curves for _, value in one.points]
        if max(values) <= 100 < first.get_ylim()[1]:
            # Points of 100 end there.
            first.set_ylim(0, 100.5)
        entries |= bands
        place = dict(loc='outside lower center', handlelength=3.5, ncols=min(len(entries), 2 * columns))
        drawing.legend(entries.values(), entries, frameon=False, **place)
        file = io.BytesIO()
        drawing.savefig(file, format='png', dpi=150)
        plt.close(drawing)
    return file.getvalue()
