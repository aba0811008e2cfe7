"""Pictures of study B's results: accuracy against steps, bars for each chain, robustness to less pre-training.

As the figures of Self-Supervised Pretraining Improves Self-Supervised Pretraining (Reed et al., WACV 2022), section 4:
from a table of :mod:`rethink.studies.hpt`. Lines and bars are means over reruns, bands and whiskers one standard
deviation to both sides. What the table lacks is shown as a cross, at the lower edge, in the colour of its chain.
"""

from math import ceil, nan
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from ..analysis.curves import COLOURS
from .hpt import LINEAR, Point, Table, best, conditions, robustness, steps_text, varied

# Random initialisation, a base as it is, one that is trained, and one that is mostly frozen, as in study A.
_COLOURS = {
    'B': COLOURS['pretrain'],
    'T': COLOURS['scratch'],
    'B+T': COLOURS['finetune'],
    'B+T-BN': COLOURS['freeze'],
    'B+S': 'tab:olive',
    'B+S+T': 'tab:green',
    'B+S+T-BN': 'tab:red',
    'B+S-BN+T-BN': 'tab:pink',
}
_ACROSS = 4


def _colour(chain: str) -> str:
    return _COLOURS.get(chain, 'tab:brown')


def _panels(number: int, across: int = _ACROSS, width: float = 3.2, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    columns = min(number, across)
    rows = ceil(number / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(5.0, width * columns), height * rows + 0.5),
        layout='constrained',
        squeeze=False,
    )
    panels = list(axes.flat)
    for unused in panels[number:]:
        unused.remove()
    for panel in panels[:number]:
        panel.grid(alpha=0.25)
        panel.spines[['top', 'right']].set_visible(False)
    return figure, panels[:number]


def _cross(axes: Axes, at: list[float], chain: str) -> None:
    axes.plot(
        at,
        [0.03] * len(at),
        'x',
        color=_colour(chain),
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        markersize=5,
        label='missing',
    )


def _line(axes: Axes, expected: list[float], points: dict[float, Point], chain: str) -> None:
    """A line that breaks where a point is missing."""
    look = dict(color=_colour(chain), marker='o', markersize=3.5)
    found = [points.get(at) for at in expected]
    means = [point.mean if point else nan for point in found]
    spreads = [point.variance**0.5 if point else nan for point in found]
    axes.errorbar(expected, means, spreads, label=chain, elinewidth=1, **look)
    low, high = ([mean + sign * spread for mean, spread in zip(means, spreads, strict=True)] for sign in (-1, 1))
    axes.fill_between(expected, low, high, color=_colour(chain), alpha=0.2, linewidth=0)
    if absent := [at for at, point in zip(expected, found, strict=True) if point is None]:
        _cross(axes, absent, chain)


def _save(figure: Figure, panels: list[Axes], path: str | Path) -> None:
    handles = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            # Crosses have the colours of chains; one of them stands for all.
            handles.setdefault(label, handle)
    if 'missing' in handles:
        handles['missing'] = plt.Line2D([], [], color='black', marker='x', linestyle='', markersize=5)
        handles['missing'] = handles.pop('missing')
    figure.legend(handles.values(), handles, frameon=False, loc='outside lower center', ncols=5)
    for suffix in ('.png', '.svg'):
        # Not with_suffix, which would cut a name such as 3.5k.
        figure.savefig(f'{path}{suffix}', dpi=150)
    plt.close(figure)


# --- accuracy against steps ------------------------------------------------------------------------------------------


def draw_steps(table: Table, path: str | Path) -> bool:
    """Linear evaluation against steps of pre-training, one panel for each data set: T, B+T, and B as a level.

    Steps that a chain has on some data set are expected on all.

    Args:
        path: file to write, without suffix; becomes a PNG and an SVG.

    Returns:
        Whether there was something to draw.
    """
    datasets = table.datasets(LINEAR)
    steps = {chain: sorted({one.steps for one in table.of(LINEAR, chain=chain)}) for chain in ('T', 'B+T')}
    every = [at for of in steps.values() for at in of]
    if not every:
        return False
    figure, panels = _panels(len(datasets))
    for number, (axes, dataset) in enumerate(zip(panels, datasets, strict=True)):
        axes.set(title=dataset, ylabel=table.metric(dataset, LINEAR), xscale='log')
        axes.set_xlim(min(every) / 1.5, max(every) * 1.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: steps_text(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        if number >= len(datasets) - _ACROSS:
            axes.set_xlabel('steps of pre-training')
        for chain, expected in steps.items():
            points = {point.steps: point for point in table.points(dataset, LINEAR, chain)}
            _line(axes, expected, points, chain)
        _level(axes, table.points(dataset, LINEAR, 'B'))
    _save(figure, panels, path)
    return True


def _level(axes: Axes, points: list[Point]) -> None:
    if not points:
        axes.text(0.98, 0.03, 'no B', transform=axes.transAxes, ha='right', fontsize=8, color=_colour('B'))
        return
    (base,) = points
    spread = base.variance**0.5
    axes.axhline(base.mean, color=_colour('B'), linestyle='--', label='B')
    axes.axhspan(base.mean - spread, base.mean + spread, color=_colour('B'), alpha=0.2, linewidth=0)


# --- bars ------------------------------------------------------------------------------------------------------------


def draw_bars(table: Table, protocols: list[str], path: str | Path, across: int = 6) -> bool:
    """Every chain at its best, a group of bars for each data set and a row of groups for each protocol.

    Args:
        path: as in :func:`draw_steps`.
        across: groups in a row, after which the next begins.

    Returns:
        Whether there was something to draw.
    """
    rows = []
    for protocol in protocols:
        datasets = table.datasets(protocol)
        rows += [(protocol, datasets[at : at + across]) for at in range(0, len(datasets), across)]
    if not rows:
        return False
    there = {one.chain for protocol in protocols for one in table.of(protocol)}
    chains = [chain for chain in _COLOURS if chain in there] + sorted(there - _COLOURS.keys())
    most = max(len(datasets) for _, datasets in rows)
    figure, panels = _panels(len(rows), 1, 1.2 + most * (0.35 * len(chains) + 0.3))
    for axes, (protocol, datasets) in zip(panels, rows, strict=True):
        width = 0.85 / len(chains)
        for place, chain in enumerate(chains):
            at = [group + (place - (len(chains) - 1) / 2) * width for group in range(len(datasets))]
            _bars(axes, at, [table.points(dataset, protocol, chain) for dataset in datasets], chain, width)
        metrics = dict.fromkeys(table.metric(dataset, protocol) for dataset in datasets)
        axes.set(title=protocol, ylabel=' / '.join(metrics), ylim=(0, 112), yticks=range(0, 101, 20))
        axes.set_xticks(range(len(datasets)), datasets)
        axes.grid(visible=False, axis='x')
        axes.set(axisbelow=True, xlim=(-0.6, most - 0.4))
    _save(figure, panels, path)
    return True


def _bars(axes: Axes, places: list[float], points: list[list[Point]], chain: str, width: float) -> None:
    bars = [(at, best(one)) for at, one in zip(places, points, strict=True) if one]
    if bars:
        at, chosen = zip(*bars, strict=True)
        axes.bar(
            at,
            [point.mean for point in chosen],
            0.92 * width,
            yerr=[point.variance**0.5 for point in chosen],
            color=_colour(chain),
            label=chain,
            error_kw=dict(elinewidth=1),
        )
        for place, point in bars:
            top = point.mean + point.variance**0.5 + 1
            axes.text(place, top, f'{point.mean:.1f}', ha='center', fontsize=7)
    if absent := [at for at, one in zip(places, points, strict=True) if not one]:
        _cross(axes, absent, chain)


# --- robustness ------------------------------------------------------------------------------------------------------

_AXES = dict(
    policy=('augmentations of pre-training', lambda policy: policy.replace(' ', '\n')),
    share=('share of the images of pre-training', lambda share: f'{100 * share:g} %'),
)


def draw_robustness(table: Table, protocol: str, what: str, path: str | Path) -> bool:
    """T and B+T against policies of augmentation, or shares of the images, one panel for each data set.

    Each chain at one number of steps, which the panel names (:func:`rethink.studies.hpt.robustness`).

    Args:
        what: ``'policy'`` or ``'share'``.
        path: as in :func:`draw_steps`.

    Returns:
        Whether there was something to draw.
    """
    datasets = varied(table, protocol, what)
    if not datasets:
        return False
    label, text = _AXES[what]
    values = conditions(table, protocol, what)
    figure, panels = _panels(len(datasets), 3, 4.2, 3.2)
    for axes, dataset in zip(panels, datasets, strict=True):
        lengths = []
        for chain in ('T', 'B+T'):
            curve = robustness(table, dataset, protocol, chain, what)
            lengths += [f'{chain} {steps_text(point.steps)}' for point in list(curve.values())[:1]]
            _line(
                axes, list(range(len(values))), {values.index(value): point for value, point in curve.items()}, chain
            )
        title = f'{dataset}\n{", ".join(lengths)} steps' if lengths else dataset
        axes.set(ylabel=table.metric(dataset, protocol), xlabel=label, xlim=(-0.3, len(values) - 0.7))
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(values)), [text(value) for value in values], fontsize=8)
    _save(figure, panels, path)
    return True
