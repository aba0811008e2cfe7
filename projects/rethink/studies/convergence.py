"""Study A's first question, asked of finished runs: how far ahead is pre-training early, and does scratch catch up?

Rethinking ImageNet Pre-training, section 4.1, figure 1 and table 1. Everything here is worked out from the logs of the
runs; AP is box AP in points of 100 unless said.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import matplotlib.pyplot as plt

from ..analysis.curves import COLOURS, STYLES
from ..analysis.logs import Run

METRICS = {
    'AP': 'coco/bbox_mAP',
    'AP50': 'coco/bbox_mAP_50',
    'AP75': 'coco/bbox_mAP_75',
    'mask AP': 'coco/segm_mAP',
}
_NAMES = dict(pretrain='pre-training', scratch='random init')


@dataclass
class Pair:
    """Two runs that differ in their initialisation alone.

    Args:
        length: name of their schedule, such as ``'6x'``.
        pretrain, scratch: the runs.
    """

    length: str
    pretrain: Run
    scratch: Run

    @property
    def arms(self) -> dict[str, Run]:
        return dict(pretrain=self.pretrain, scratch=self.scratch)

    def final(self, arm: str) -> dict[str, float]:
        """The metrics of :data:`METRICS` after the last iteration, in points.

        Raises:
            ValueError: the run has not been trained and evaluated to its end.
        """
        run = self.arms[arm]
        if not run.finished:
            raise ValueError(f'{run.work_dir} is not finished: its log ends at {run.iteration} of {run.max_iters}.')
        # MMDetection logs no AP where not one box was detected, which is an AP of 0.
        return {name: 100 * run.val[run.max_iters].get(key, 0.0) for name, key in METRICS.items()}

    def gap(self, metric: str = 'AP') -> float:
        """By how many points the fine-tuned arm ends above the one from scratch."""
        return self.final('pretrain')[metric] - self.final('scratch')[metric]


def rows(pairs: list[Pair]) -> list[dict]:
    """One dict per run: schedule, iterations, initialisation and the final metrics, as in tables 1 and 2."""
    return [
        dict(schedule=pair.length, iterations=run.max_iters, initialisation=_NAMES[arm], **pair.final(arm))
        for pair in pairs
        for arm, run in pair.arms.items()
    ]


def table(pairs: list[Pair]) -> str:
    """:func:`rows` as a Markdown table."""
    lines = ['| ' + ' | '.join(['schedule', 'iterations', 'initialisation', *METRICS]) + ' |']
    lines.append('|' + ' --- |' * (3 + len(METRICS)))
    for row in rows(pairs):
        metrics = ' | '.join(f'{row[name]:.1f}' for name in METRICS)
        lines.append(f'| {row["schedule"]} | {row["iterations"]} | {row["initialisation"]} | {metrics} |')
    return '\n'.join(lines)


def verdict(pairs: list[Pair], margin: float) -> str:
    """What the numbers of the shortest and the longest schedule say, in words.

    Args:
        pairs: at least two schedules.
        margin: differences of final AP below this many points are called none. It should be what two runs of one
            config with different seeds differ by.
    """
    pairs = sorted(pairs, key=lambda pair: pair.pretrain.max_iters)
    ends = [(pair.length, pair.final('pretrain')['AP'], pair.final('scratch')['AP']) for pair in pairs]
    return judge(ends[0], ends[-1], margin)


def judge(short: tuple[str, float, float], long: tuple[str, float, float], margin: float) -> str:
    """The words of :func:`verdict`; each argument is (schedule, AP with pre-training, AP from scratch)."""

    def say(which, ahead, level, behind):
        _, fine_tuned, scratch = which
        gap = fine_tuned - scratch
        words = level if abs(gap) < margin else ahead if gap > 0 else behind
        return words.format(gap=abs(gap), pretrain=f'{fine_tuned:.1f}', scratch=f'{scratch:.1f}', margin=f'{margin:g}')

    early = say(
        short,
        'pre-training is ahead by {gap:.1f} AP ({pretrain} against {scratch})',
        'pre-training is not ahead ({pretrain} against {scratch} AP, less than {margin} apart)',
        'pre-training is behind by {gap:.1f} AP ({pretrain} against {scratch})',
    )
    late = say(
        long,
        'training from scratch has not caught up: it is still {gap:.1f} AP behind ({scratch} against {pretrain})',
        'training from scratch has caught up ({scratch} against {pretrain} AP, less than {margin} apart)',
        'training from scratch has overtaken: it is {gap:.1f} AP ahead ({scratch} against {pretrain})',
    )
    is_ahead, caught_up = short[1] - short[2] >= margin, long[1] - long[2] < margin
    claim = 'what the study found' if is_ahead and caught_up else 'not what the study found'
    return (
        f'On the short schedule ({short[0]}) {early}. On the long one ({long[0]}) {late}. This is {claim}: '
        'pre-training speeds up convergence, and from scratch catches up.'
    )


def seeds_table(summaries: dict[int, list[Pair]]) -> str:
    """Markdown table of the final AP of both arms per schedule and seed, with mean and standard deviation of the gap.

    Args:
        summaries: seed -> its pairs; the same schedules in every seed.
    """
    lengths = [pair.length for pair in next(iter(summaries.values()))]
    titles = [f'{length} {what}' for length in lengths for what in ('pre-training', 'random init', 'gap')]
    lines = ['| ' + ' | '.join(['seed', *titles]) + ' |']
    lines.append('|' + ' --- |' * (1 + 3 * len(lengths)))
    columns = {length: [] for length in lengths}
    for seed, pairs in sorted(summaries.items()):
        cells = []
        for pair in pairs:
            values = pair.final('pretrain')['AP'], pair.final('scratch')['AP'], pair.gap()
            columns[pair.length].append(values)
            cells.append('{:.1f} | {:.1f} | {:+.1f}'.format(*values))
        lines.append(f'| {seed} | ' + ' | '.join(cells) + ' |')
    cells = []
    for length in lengths:
        fine_tuned, scratch, gaps = zip(*columns[length], strict=True)
        spread = f' ± {stdev(gaps):.1f}' if len(gaps) > 1 else ''
        cells.append(f'{mean(fine_tuned):.1f} | {mean(scratch):.1f} | {mean(gaps):+.1f}{spread}')
    lines.append('| mean | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def draw(pairs: list[Pair], path: str | Path, title: str) -> None:
    """Box AP against iterations, both arms, one line per schedule, in the manner of the paper's figure 1.

    Args:
        pairs: runs, finished or not.
        path: file to write, without suffix; becomes a PNG and an SVG.
        title: what was trained on what.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout='constrained')
    longest_first = sorted(pairs, key=lambda pair: -(pair.pretrain.max_iters or 0))
    curves = [
        (arm, style, pair.length, pair.arms[arm].curve(METRICS['AP']))
        for arm in ('scratch', 'pretrain')
        for style, pair in zip(STYLES, longest_first, strict=False)
    ]
    for arm, style, length, curve in [one for one in curves if one[-1]]:
        iterations, values = zip(*[(at, 100 * value) for at, value in curve], strict=True)
        label = f'{_NAMES[arm]}, {length}'
        axes.plot(iterations, values, linestyle=style, color=COLOURS[arm], marker='o', markersize=3.5, label=label)
        others = [100 * other[-1][1] for name, _, same, other in curves if same == length and name != arm and other]
        above = not others or values[-1] >= others[0]
        axes.annotate(
            f'{values[-1]:.1f}',
            (iterations[-1], values[-1]),
            textcoords='offset points',
            xytext=(4, 6 if above else -13),
            fontsize=8,
            color=COLOURS[arm],
        )
    axes.margins(x=0.06, y=0.08)
    axes.set(xlabel='iterations', ylabel='box AP', title=title, xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.25)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='lower right')
    for suffix in ('.png', '.svg'):
        figure.savefig(Path(path).with_suffix(suffix), dpi=150)
    plt.close(figure)
