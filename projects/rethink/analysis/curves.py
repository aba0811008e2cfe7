"""Learning curves of any runs: a metric and the training loss against iterations."""

import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from ..errors import ConfigError, some_names
from . import pictures
from .logs import Run

# Five schedules in one picture, as in figure 1.
STYLES = tuple(style for style, _ in pictures.DASHES)


def smoothed(values: list[float], window: int) -> list[float]:
    """Mean of each value and those up to ``window - 1`` before it."""
    return [sum(part) / len(part) for part in (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))]


def check_metric(runs: list[Run], metric: str) -> None:
    """The runs have logged a metric, those that have evaluated; says which of them have not.

    Raises:
        ConfigError: none has; with the names that they have.
    """
    evaluated = [run for run in runs if run.metrics]
    without = [run for run in evaluated if metric not in run.metrics]
    if evaluated and without == evaluated:
        names = sorted({name for run in evaluated for name in run.metrics})
        raise ConfigError(f'none of these runs has logged {metric}; they have {some_names(names)}: name one of these.')
    for run in without:
        print(f'{run.work_dir} has logged no {metric}, but {some_names(run.metrics)}', file=sys.stderr)


def draw(runs: list[Run], path: str | Path, metric: str, title: str = '', window: int = 5) -> list[Path]:
    """Draw the metric above and the training loss below, one line for each run.

    Colour and marker are those of the initialisation, the first part of a config's name (:mod:`pictures`); runs of one
    initialisation differ in their style, the longest first. A run without a log is in the legend as missing.

    Args:
        runs: finished or not.
        path: file to write, see :func:`rethink.analysis.pictures.save`.
        metric: as MMEngine logs it; fractions are shown in points of 100.
        window: log entries over which the loss is averaged.
    """
    figure, (above, below) = plt.subplots(2, sharex=True, figsize=(7, 6.4), layout='constrained', height_ratios=(3, 2))
    styles: dict[str, int] = {}
    ordered = sorted(runs, key=lambda run: (-(run.max_iters or 0), run.work_dir.name))
    places = pictures.places(run.work_dir.name.split('_')[0] for run in ordered)
    for run in ordered:
        name = run.work_dir.name
        init = name.split('_')[0]
        styles[init] = styles.get(init, -1) + 1
        arm = pictures.LOOKS[places[init]]
        look = dict(color=arm.colour, linestyle=STYLES[styles[init] % len(STYLES)])
        state = '' if run.finished else ' (not finished)' if run.iteration else ' (missing)'
        curve = run.curve(metric)
        above.plot(
            [at for at, _ in curve],
            [100 * value for _, value in curve],
            marker=arm.marker,
            markersize=4,
            label=name + state,
            **look,
        )
        logged = sorted(run.train)
        below.plot(logged, smoothed([run.train[at]['loss'] for at in logged], window), linewidth=1, **look)
    above.set(ylabel=metric.split('/')[-1].replace('_', ' '), title=title)
    below.set(xlabel='iterations', ylabel='training loss', xlim=(0, None))
    above.set_ylim(0)
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
    handles, labels = above.get_legend_handles_labels()
    # Below, where no curve is.
    figure.legend(handles, labels, frameon=False, loc='outside lower center', ncols=2, fontsize=8, handlelength=3.5)
    files = pictures.save(figure, path)
    plt.close(figure)
    return files
