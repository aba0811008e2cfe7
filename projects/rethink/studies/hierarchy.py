"""Study B's claims, asked of one data set on which each chain was trained with a few seeds: is a base worth its steps?

Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al. 2022), sections 4.1 and 4.3: few steps
from a base reach what takes many from random initialisation; B+T is better than B and than T, under a linear layer and
in detection. All values are in points of 100.
"""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev, variance
from typing import NamedTuple

import matplotlib.pyplot as plt

METRICS = {'AP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'mask AP': 'segm_mAP'}
# Standard deviation over the seeds of one chain, pooled over the chains, as measured in docs/shapes.md.
SPREAD = {'top-1': 1.9, 'AP': 1.4}
_COLOURS = {'B': '#888888', 'T': '#c44e52', 'B+T': '#4c72b0', 'B+T-BN': '#55a868'}


class Result(NamedTuple):
    """A backbone, as measured.

    Args:
        chain: B, T, B+T or B+T-BN.
        steps: iterations on the target, 0 for B.
        top1: accuracy of a linear layer on its frozen features.
        ap, ap50, mask_ap: of a detector that begins with it; of boxes, and of masks.
    """

    chain: str
    steps: int
    top1: float
    ap: float
    ap50: float
    mask_ap: float

    @property
    def values(self) -> dict[str, float]:
        """What the claims are about."""
        return {'top-1': self.top1, 'AP': self.ap}


def table(results: list[Result]) -> str:
    """The results as a Markdown table."""
    lines = ['| ' + ' | '.join(['pre-training', 'steps on the target', 'linear top-1', *METRICS]) + ' |']
    lines.append('|' + ' --- |' * (3 + len(METRICS)))
    for one in results:
        lines.append(f'| {one.chain} | {one.steps} | ' + ' | '.join(f'{value:.1f}' for value in one[2:]) + ' |')
    return '\n'.join(lines)


def mean(seeds: Sequence[list[Result]]) -> list[Result]:
    """Each chain's mean over some seeds, whose results are in one order."""
    return [Result(*one[0][:2], *map(fmean, list(zip(*one, strict=True))[2:])) for one in zip(*seeds, strict=True)]


def pooled_spread(seeds: Sequence[list[Result]]) -> dict[str, float]:
    """Standard deviation of a value over the seeds of one chain, pooled over the chains; of two seeds or more."""
    chains = list(zip(*seeds, strict=True))
    return {key: sqrt(fmean(variance(one.values[key] for one in chain) for chain in chains)) for key in SPREAD}


def margins(number: int = 1, spread: dict[str, float] = SPREAD) -> dict[str, float]:
    """Below what a difference between two means over ``number`` seeds is called none: twice its standard error."""
    return {key: 2 * one * sqrt(2 / number) for key, one in spread.items()}


def seeds_table(seeds: Sequence[list[Result]]) -> str:
    """Mean ± standard deviation over two or more seeds as a Markdown table, rows and columns as in :func:`table`."""
    lines = table(mean(seeds)).split('\n')[:2]
    for chain in zip(*seeds, strict=True):
        cells = [f'{fmean(values):.1f} ± {stdev(values):.1f}' for values in list(zip(*chain, strict=True))[2:]]
        lines.append(f'| {chain[0].chain} | {chain[0].steps} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def verdict(results: list[Result], margins: dict[str, float]) -> str:
    """What the numbers say about the claims, a line each.

    Args:
        results: B, T of two or more lengths (the shortest that of B+T), B+T and B+T-BN; of a seed, or their mean.
        margins: of each value, the difference below which two are level.
    """
    target = sorted((one for one in results if one.chain == 'T'), key=lambda one: one.steps)
    short, long = target[0], target[-1]
    base, both, only_bn = (next(one for one in results if one.chain == name) for name in ('B', 'B+T', 'B+T-BN'))
    lines = []
    for metric, margin in margins.items():
        gap = both.values[metric] - long.values[metric]
        if gap > -margin:
            outcome = f'{"beat" if gap >= margin else "match"} {long.steps} from random initialisation'
        else:
            outcome = f'do not reach {long.steps} from random initialisation'
        lines.append(
            f'Speed, {metric}: {both.steps} steps from the base {outcome} ({both.values[metric]:.1f} against '
            f'{long.values[metric]:.1f}). {_holds(gap > -margin)}'
        )
    for metric, margin in margins.items():
        lines.append(_better(both, (base, short), metric, margin))
    lines.append(_better(only_bn, (base, short), 'AP', margins['AP']))
    return '\n'.join(f'* {line}' for line in lines)


def _better(one: Result, others: tuple[Result, ...], metric: str, margin: float) -> str:
    def against(other: Result) -> str:
        gap = one.values[metric] - other.values[metric]
        name = other.chain if other.chain == 'B' else f'{other.chain} of {other.steps} steps'
        if abs(gap) < margin:
            return f'level with {name} ({gap:+.1f}, less than {margin:.1f})'
        return f'{"above" if gap > 0 else "below"} {name} by {abs(gap):.1f}'

    ahead = all(one.values[metric] - other.values[metric] >= margin for other in others)
    what = ' and '.join(map(against, others))
    return f'Better, {metric}: {one.chain} ({one.values[metric]:.1f}) is {what}. {_holds(ahead)}'


def _holds(found: bool) -> str:
    return 'As the study found.' if found else 'Not what the study found.'


def draw(results: list[Result], path: str | Path, title: str) -> None:
    """Linear accuracy and box AP against steps on the target, side by side.

    Args:
        path: file to write, without suffix; becomes a PNG and an SVG.
        title: what was trained on what.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout='constrained')
    for axes, (metric, label) in zip(panels, {'top-1': 'linear top-1', 'AP': 'box AP'}.items(), strict=True):
        lines = {chain: [one for one in results if one.chain == chain] for chain in _COLOURS}
        # HPT begins where the base is.
        for chain in ('B+T', 'B+T-BN'):
            if lines[chain]:
                lines[chain] = lines['B'] + lines[chain]
        for chain, points in lines.items():
            if not points:
                continue
            steps, values = zip(*[(one.steps, one.values[metric]) for one in points], strict=True)
            first = chain in ('B+T', 'B+T-BN') and len(points) > 1
            axes.plot(
                steps,
                values,
                color=_COLOURS[chain],
                marker='o',
                markevery=[len(points) - 1] if first else None,
                linestyle='--' if chain == 'B+T-BN' else '-',
                label=chain,
                # The base's own point on top of the lines that leave it.
                zorder=3 if chain == 'B' else 2,
            )
        axes.margins(x=0.08, y=0.12)
        axes.set(xlabel='steps on the target', ylabel=label)
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
    panels[0].legend(frameon=False)
    figure.suptitle(title)
    for suffix in ('.png', '.svg'):
        figure.savefig(Path(path).with_suffix(suffix), dpi=150)
    plt.close(figure)
