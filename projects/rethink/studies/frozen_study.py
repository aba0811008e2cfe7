"""Study C's questions, asked of six detectors: does freezing need capacity, what does it save, where does it help?

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al., CVPR 2022): a backbone
from a classifier, frozen, fine-tuned or not used, in a small and in a larger detector, one run each for any number of
seeds. All AP is of boxes, in points of 100.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from scipy import stats

from ..analysis import class_gains
from ..analysis.class_gains import Gains
from ..analysis.curves import COLOURS

# The smaller first; the keys are parts of the names of the configs.
DETECTORS = {'fpn': 'FPN', 'nasfpn_cascade': 'NAS-FPN + cascade'}
ARMS = {'freeze': 'frozen', 'finetune': 'fine-tuned', 'scratch': 'from scratch'}
_MARKERS = dict(zip(DETECTORS, 'os', strict=True))


class Result(NamedTuple):
    """A detector, as trained and measured.

    Args:
        detector, arm: keys of :data:`DETECTORS` and :data:`ARMS`.
        ap, ap50: after the last iteration.
        parameters, trainable: numbers, of the whole detector.
        forward, backward: operations of a training step (multiply-add = 2).
        kept: bytes kept for the backward pass of a step.
        seconds: of the processor, for the two passes of a step.
    """

    detector: str
    arm: str
    ap: float
    ap50: float
    parameters: int
    trainable: int
    forward: int
    backward: int
    kept: int
    seconds: float

    @property
    def flops(self) -> int:
        return self.forward + self.backward


class Difference(NamedTuple):
    """A difference of AP, and between what it lies for all that is known of the noise."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1, or 0 where the noise may be all of it."""
        return int(self.low > 0) - int(self.high < 0)


def difference(values: Sequence[float], margin: float) -> Difference:
    """Mean of differences, one for each seed.

    Args:
        values: from one seed, between the value less and plus ``margin``; from several, Student's 95 % interval.
        margin: below which one seed's difference is none.
    """
    value = mean(values)
    half = margin if len(values) == 1 else stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return Difference(value, float(value - half), float(value + half))


def pick(results: Sequence[Result], detector: str, arm: str) -> Result:
    """The result of a detector and an arm."""
    return next(one for one in results if (one.detector, one.arm) == (detector, arm))


def gaps(seeds: Sequence[Sequence[Result]], detector: str, other: str) -> list[float]:
    """Of each seed the AP of the frozen arm less that of another one."""
    return [pick(results, detector, 'freeze').ap - pick(results, detector, other).ap for results in seeds]


# --- tables ----------------------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> str:
    """The results of a seed as a Markdown table."""
    title = ['detector', 'backbone', 'trainable', 'AP', 'AP50', 'GFLOPs of a step', 'kept, MB', 'CPU s of a step']
    lines = ['| ' + ' | '.join(title) + ' |', '| --- | --- |' + ' ---: |' * (len(title) - 2)]
    for one in results:
        cells = [DETECTORS[one.detector], ARMS[one.arm], f'{100 * one.trainable / one.parameters:.0f} %']
        cells += [f'{one.ap:.1f}', f'{one.ap50:.1f}', f'{one.flops / 1e9:.1f}', f'{one.kept / 1e6:.0f}']
        lines.append('| ' + ' | '.join([*cells, f'{one.seconds:.3f}']) + ' |')
    return '\n'.join(lines)


def seeds_table(seeds: dict[int, Sequence[Result]]) -> str:
    """Box AP of every arm for each seed as a Markdown table, with the mean and the standard deviation."""
    columns = [(detector, arm) for detector in DETECTORS for arm in ARMS]
    titles = [f'{DETECTORS[detector]}, {ARMS[arm]}' for detector, arm in columns]
    lines = ['| ' + ' | '.join(['seed', *titles]) + ' |', '|' + ' --- |' * (1 + len(columns))]
    values = {column: [pick(results, *column).ap for results in seeds.values()] for column in columns}
    for row, seed in enumerate(seeds):
        lines.append(f'| {seed} | ' + ' | '.join(f'{values[column][row]:.1f}' for column in columns) + ' |')
    spread = [f'{mean(of):.1f} ± {stdev(of):.1f}' if len(of) > 1 else f'{of[0]:.1f}' for of in values.values()]
    return '\n'.join([*lines, '| mean | ' + ' | '.join(spread) + ' |'])


# --- words -----------------------------------------------------------------------------------------------------------


def verdict(seeds: Sequence[Sequence[Result]], gains: dict[str, Gains], margin: float) -> str:
    """What the numbers say of each of the three questions.

    Args:
        seeds: of each seed, all six results.
        gains: detector -> AP by class of the frozen arm less the fine-tuned one.
        margin: as in :func:`difference`.
    """
    lines = [capacity(seeds, margin), *(saved(seeds, detector) for detector in DETECTORS)]
    lines += [where(gains[detector], DETECTORS[detector]) for detector in DETECTORS]
    return '\n'.join(f'* {line}' for line in lines)


def capacity(seeds: Sequence[Sequence[Result]], margin: float) -> str:
    """Whether freezing needs capacity: its difference to fine-tuning in the small and in the larger detector."""
    small, large = (difference(gaps(seeds, detector, 'finetune'), margin) for detector in DETECTORS)
    pairs = zip(*(gaps(seeds, detector, 'finetune') for detector in DETECTORS), strict=True)
    # Two differences, each with its own noise.
    shift = difference([larger - smaller for smaller, larger in pairs], 2**0.5 * margin)
    if shift.sign < 0:
        answer = 'The opposite of what the study found: the larger detector is worse for freezing.'
    elif shift.sign == 0:
        answer = 'That freezing needs capacity is not shown: what the larger detector changes may be noise.'
    elif small.sign < 0 < large.sign:
        answer = 'As the study found: freezing loses in the small detector and wins in the larger one.'
    else:
        rest = [
            'it does not lose in the small one' * (small.sign >= 0),
            'it does not win in the larger one' * (large.sign <= 0),
        ]
        answer = f'In part as the study found: the larger detector is better for freezing, but {_and(rest)}.'
    sentences = [
        f'with {DETECTORS[detector]}, freezing is {_against(seeds, detector, "finetune", margin)} and '
        f'{_against(seeds, detector, "scratch", margin)}'
        for detector in DETECTORS
    ]
    return (
        f'Capacity: {"; ".join(sentences)}. The larger detector moves the difference of freezing and fine-tuning by '
        f'{_interval(shift)}. {answer}'
    )


def _against(seeds: Sequence[Sequence[Result]], detector: str, other: str, margin: float) -> str:
    found = difference(gaps(seeds, detector, other), margin)
    what = 'fine-tuning' if other == 'finetune' else 'training from scratch'
    return f'{("level with", "above", "below")[found.sign]} {what} ({_interval(found)} AP)'


def _interval(found: Difference) -> str:
    return f'{found.value:+.1f}, {found.low:+.1f} to {found.high:+.1f}'


def _and(parts: list[str]) -> str:
    return ' and '.join(part for part in parts if part)


def saved(seeds: Sequence[Sequence[Result]], detector: str) -> str:
    """What a step of the frozen arm costs beside one of the fine-tuned arm.

    Steps of the arm from scratch do the same work as those of the fine-tuned one: what their times differ by is noise.
    """
    freeze, finetune = (pick(seeds[0], detector, arm) for arm in ('freeze', 'finetune'))
    flops, kept = freeze.flops / finetune.flops, freeze.kept / finetune.kept
    seconds = {arm: mean(pick(results, detector, arm).seconds for results in seeds) for arm in ARMS}
    noise = abs(seconds['scratch'] / seconds['finetune'] - 1)
    time = seconds['freeze'] / seconds['finetune']
    took = f'{time:.2f} of the CPU time' if abs(time - 1) > noise else 'no other CPU time than noise may explain'
    less = _and(['operations' * (flops < 1), 'memory for the backward pass' * (kept < 1)])
    return (
        f'Saved, {DETECTORS[detector]}: a step of the frozen detector takes {flops:.2f} of the operations of the '
        f'fine-tuned one ({freeze.flops / 1e9:.1f} of {finetune.flops / 1e9:.1f} GFLOPs), keeps {kept:.2f} of the '
        f'bytes ({freeze.kept / 1e6:.0f} of {finetune.kept / 1e6:.0f} MB), and has {took} ({seconds["freeze"]:.3f} '
        f'of {seconds["finetune"]:.3f} s; two arms that do the same work differ by {100 * noise:.0f} %). '
        + (f'It saves {less}.' if less else 'It saves neither operations nor memory.')
    )


def where(gains: Gains, detector: str) -> str:
    """Whether the gain grows as a class has fewer annotations."""
    means = [f'{group} {found}' for group in class_gains.GROUPS if (found := gains.mean(group))]
    return (
        f'Where, {detector}: frozen less fine-tuned, mean AP of classes: {"; ".join(means)}; trend with the number of '
        f'annotations: {gains.trend() or "none to be had"}. {class_gains.verdict(gains)}'
    )


# --- picture ---------------------------------------------------------------------------------------------------------


def draw(results: Sequence[Result], gains: dict[str, Gains], path: str | Path, title: str) -> None:
    """Box AP of each arm, box AP against the operations of a step (figure 1 of the paper), and Δ AP by class.

    Args:
        results: of one seed, in any number.
        gains: as in :func:`verdict`, of as many detectors as there are.
        path: file to write, without suffix; becomes a PNG and an SVG.
        title: what was trained on what.
    """
    figure, (bars, costs, classes) = plt.subplots(1, 3, figsize=(12, 4), layout='constrained')
    names = list(dict.fromkeys(one.detector for one in results))
    for place, arm in enumerate(ARMS):
        of_arm = [one for one in results if one.arm == arm]
        at = [names.index(one.detector) + 0.27 * (place - 1) for one in of_arm]
        colour = COLOURS[arm]
        bars.bar_label(bars.bar(at, [one.ap for one in of_arm], 0.25, color=colour, label=ARMS[arm]), fmt='%.1f')
        for one in of_arm:
            costs.scatter(one.flops / 1e9, one.ap, s=48, color=colour, marker=_MARKERS[one.detector])
    bars.set_xticks(range(len(names)), [DETECTORS[name] for name in names])
    bars.set(ylabel='box AP')
    bars.margins(y=0.2)
    bars.legend(frameon=False, loc='upper left', ncols=3, fontsize=8, handlelength=1, columnspacing=1)
    costs.set(xlabel='GFLOPs of a training step', ylabel='box AP', xlim=(0, None))
    costs.margins(0.1)
    for name, gain in gains.items():
        classes.plot(gain.annotations, gain.delta[:, 0], _MARKERS[name], color='black', label=DETECTORS[name])
        classes.lines[-1].set_markerfacecolor('none' if name == names[0] else 'black')
    classes.axhline(0, color='grey', linewidth=0.8)
    classes.set(xscale='log', xlabel='training annotations of the class', ylabel='Δ AP, frozen less fine-tuned')
    classes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    classes.xaxis.set_minor_locator(NullLocator())
    classes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f'{count:g}'))
    classes.margins(y=0.2)
    classes.legend(frameon=False, loc='upper right', fontsize=8)
    for axes in (bars, costs, classes):
        axes.grid(alpha=0.25, axis='y' if axes is bars else 'both')
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
    figure.suptitle(title)
    for suffix in ('.png', '.svg'):
        figure.savefig(Path(path).with_suffix(suffix), dpi=150)
    plt.close(figure)
