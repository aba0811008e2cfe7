"""Results against a number: AP against length, share of the data, steps of pre-training, labels.

A study asks for it with ``figures``: every run that has the factor ``x`` is a point, every combination of its other
factors a line, every value of the factor ``panel`` a panel.
"""

import io
import re
from collections.abc import Mapping
from statistics import fmean, stdev

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from .plan import Plan
from .results import measured
from .study import Asked

# (x, mean, standard deviation over seeds and reruns)
Line = list[tuple[float, float, float]]


def number(text: str) -> float | None:
    """``'6x'`` → 6, ``'35k'`` → 35000, ``'60ki'`` → 60000; None for what is no number."""
    found = re.fullmatch(r'(\d+(?:\.\d+)?)(k?)(x|e|i|%)?', text)
    return float(found[1]) * (1000 if found[2] else 1) if found else None


def lines(plan: Plan, asked: Asked) -> dict[str, dict[str, Line]]:
    """Panel → line → what there is of it, by rising x."""
    found: dict[str, dict[str, dict[float, list[float]]]] = {}
    for task in plan.tasks:
        factors: Mapping[str, str] = task.run.factors
        x = next((at for name in asked.x if (at := number(factors.get(name, ''))) is not None), None)
        values = measured(task, asked.metric or task.run.metric)
        if x is None or not values:
            continue
        rest = ' '.join(value for name, value in factors.items() if name not in (*asked.x, asked.panel))
        panel = found.setdefault(factors.get(asked.panel, ''), {})
        panel.setdefault(rest or task.run.metric, {}).setdefault(x, []).extend(values.values())
    return {
        panel: {
            line: [(x, fmean(of), stdev(of) if len(of) > 1 else 0.0) for x, of in sorted(points.items())]
            for line, points in by_line.items()
        }
        for panel, by_line in found.items()
    }


def draw(plan: Plan, asked: Asked) -> str:
    """The picture as SVG whose text has the colour of the page; '' where there is nothing to draw."""
    panels = lines(plan, asked)
    if not panels:
        return ''
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    size = (max(5.0, 3.2 * across), 3.2 * down)
    with plt.rc_context({'svg.fonttype': 'none', 'text.color': 'C7', 'axes.labelcolor': 'C7', 'axes.edgecolor': 'C7'}):
        figure, axes = plt.subplots(down, across, squeeze=False, figsize=size, layout='constrained')
        for place, (name, by_line) in zip(axes.flat, panels.items(), strict=False):
            for label, points in by_line.items():
                x, mean, spread = zip(*points, strict=True)
                place.errorbar(x, mean, yerr=spread if any(spread) else None, marker='o', markersize=4, label=label)
            place.set(xlabel=asked.x[0], ylabel=asked.metric or plan.study.metric, title=name)
            if max(place.get_xlim()) > 50 * max(1e-9, min(one[0] for line in by_line.values() for one in line)):
                place.set_xscale('log')
            place.tick_params(colors='C7')
            place.grid(alpha=0.25)
            place.spines[['top', 'right']].set_visible(False)
        for place in list(axes.flat)[len(panels) :]:
            place.set_visible(False)
        axes[0][0].legend(frameon=False, fontsize=8, labelcolor='C7')
        text = io.StringIO()
        figure.savefig(text, format='svg', transparent=True)
        plt.close(figure)
    return text.getvalue()[text.getvalue().index('<svg') :]
