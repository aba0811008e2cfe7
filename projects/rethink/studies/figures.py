"""Results against a number: AP against length, share of the data, steps of pre-training, labels.

A study asks for it with ``figures``: every run that has the factor ``x`` is a point, every name without the values of
``x`` and ``panel`` a line, every value of the factor ``panel`` a panel.
"""

import re
from collections.abc import Mapping
from statistics import fmean, stdev

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
        panel = found.setdefault(factors.get(asked.panel, ''), {})
        arm = task.run.arm(*asked.x, asked.panel)
        panel.setdefault(arm, {}).setdefault(x, []).extend(values.values())
    return {
        panel: {
            line: [(x, fmean(of), stdev(of) if len(of) > 1 else 0.0) for x, of in sorted(points.items())]
            for line, points in by_line.items()
        }
        for panel, by_line in found.items()
    }
