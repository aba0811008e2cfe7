"""Where does one way of training help? AP of each class against how many annotations it has to train on.

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al., CVPR 2022), figures 4 and
5: Δ is the AP of one arm (freeze) less that of another (fine-tune), in points of 100. What the numbers say is told
with the noise between classes, and between runs where an arm has several.
"""

import csv
import io
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy import stats

from ..errors import ConfigError, say, some_names
from . import pictures
from .class_ap import SIZES, Annotations, check_kind, class_ap, evaluator, read_annotations, read_results
from .markdown import markdown_table

GROUPS = ('rare', 'common', 'frequent')
_LOOKS = dict(zip(GROUPS, (pictures.LOOKS[3], pictures.LOOKS[1], pictures.LOOKS[0]), strict=True))
_RESAMPLES = 2000
# Classes whose names the figure has room for.
_NAMED = 20
# Of the interval, and of the test: one in twenty is taken for chance.
_LEVEL = 0.95


@dataclass(frozen=True)
class Trend:
    """Spearman's rank correlation of Δ and the number of training annotations.

    Args:
        rho: from -1 (the fewer annotations, the higher Δ) to 1.
        low, high: the middle 95 % over resampled classes, and runs where an arm has several. Resampled runs are
            noisier than their mean, so that the interval leans towards 0.
        p: share of random assignments of the numbers to the classes with a correlation as strong, both signs.
        classes: how many.
    """

    rho: float
    low: float
    high: float
    p: float
    classes: int

    @property
    def shown(self) -> bool:
        """Whether both the test and the interval tell it from none."""
        return self.p < 1 - _LEVEL and (self.high < 0 or self.low > 0)

    def __str__(self) -> str:
        p = f'p = {self.p:.3f}' if self.p >= 0.001 else 'p < 0.001'
        return f'ρ = {self.rho:+.2f} ({self.low:+.2f} to {self.high:+.2f}; {p}; {self.classes} classes)'


@dataclass(frozen=True)
class Mean:
    """Mean Δ of some classes.

    Args:
        value: in points.
        low, high: 95 % interval; nan where there is a single class.
        classes: how many.
    """

    value: float
    low: float
    high: float
    classes: int

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f'{self.value:+.1f} (one class)'
        return f'{self.value:+.1f} ({self.low:+.1f} to {self.high:+.1f}; {self.classes} classes)'


@dataclass(frozen=True)
class Gains:
    """AP of two arms, class by class. C classes, in the order of the file; sizes are :data:`.class_ap.SIZES`.

    Args:
        names: of the classes.
        groups: rare, common or frequent, of each class.
        annotations, images: of each class in training, (C,) int.
        base, other: AP in points, (runs, C, 4) float64; nan where a class has no object of a size to find.
        split: in words, how the groups were made.
        arms: what base and other are called.
        metric: such as ``'box AP'``.
    """

    names: list[str]
    groups: list[str]
    annotations: np.ndarray
    images: np.ndarray
    base: np.ndarray
    other: np.ndarray
    split: str = ''
    arms: tuple[str, str] = ('base', 'other')
    metric: str = 'box AP'

    @property
    def delta(self) -> np.ndarray:
        """Mean of other less mean of base, (C, 4)."""
        return self.other.mean(0) - self.base.mean(0)

    def members(self, group: str | None = None, size: str = 'all') -> np.ndarray:
        """Whether a class counts: it is of the group and has objects of the size to find; (C,) bool."""
        there = ~np.isnan(self.delta[:, SIZES.index(size)])
        return there if group is None else there & (np.array(self.groups) == group)

    def mean(self, group: str | None = None, size: str = 'all') -> Mean | None:
        """Mean Δ of the classes of a group; None where there is none.

        The interval (Student's t, degrees of freedom by Welch and Satterthwaite) adds the variance between classes
        and, where both arms have reruns, that between the runs of each arm. The noise of a run is in both, so that it
        is rather too wide.
        """
        members, at = self.members(group, size), SIZES.index(size)
        if not members.any():
            return None
        delta = self.delta[members, at]
        samples = [delta]
        if min(len(self.base), len(self.other)) > 1:
            samples += [arm[:, members, at].mean(1) for arm in (self.base, self.other)]
        if len(delta) < 2:
            return Mean(float(delta[0]), math.nan, math.nan, 1)
        parts = np.array([(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples])
        variance = parts[:, 0].sum()
        half = 0.0
        if variance > 0:
            freedom = variance**2 / (parts[:, 0] ** 2 / parts[:, 1]).sum()
            half = float(stats.t.ppf((1 + _LEVEL) / 2, freedom) * variance**0.5)
        value = float(delta.mean())
        return Mean(value, value - half, value + half, len(delta))

    def trend(self, size: str = 'all') -> Trend | None:
        """How Δ goes with the number of training annotations; None where all are equal, or classes too few to ask."""
        members, at = self.members(size=size), SIZES.index(size)
        counts, delta = self.annotations[members], self.delta[members, at]
        if len(counts) < 3 or np.ptp(counts) == 0 or np.ptp(delta) == 0:
            return None
        rho = float(stats.spearmanr(counts, delta).statistic)
        centred = stats.rankdata(delta) - (len(delta) + 1) / 2
        # The denominator of ρ is that of every permutation, so that the numerator orders them; all of them are taken
        # where they are fewer than the 9999 that are drawn otherwise.
        test = stats.permutation_test(
            (stats.rankdata(counts),),
            lambda ranks, axis=-1: ranks @ centred,
            permutation_type='pairings',
            vectorized=True,
            n_resamples=9999,
            batch=1000,
            random_state=0,
        )
        low, high = self._interval(members, at)
        return Trend(rho, low, high, float(test.pvalue), len(counts))

    def _interval(self, members: np.ndarray, at: int) -> tuple[float, float]:
        """Of ρ, over resampled classes and runs."""
        random = np.random.default_rng(0)
        arms = []
        for arm in (self.base, self.other):
            runs = len(arm)
            shares = random.multinomial(runs, [1 / runs] * runs, _RESAMPLES) / runs
            arms.append(shares @ arm[:, members, at])
        classes = random.integers(members.sum(), size=(_RESAMPLES, members.sum()))
        delta = np.take_along_axis(arms[1] - arms[0], classes, 1)
        low, high = np.quantile(
            _rank_correlations(self.annotations[members][classes], delta), [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]
        )
        return float(low), float(high)


def _rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's ρ of each row; 0 where all of a row's values are equal, which speaks for no trend."""
    one, other = (stats.rankdata(values, axis=1) for values in (one, other))
    one, other = (ranks - ranks.mean(1, keepdims=True) for ranks in (one, other))
    norms = np.sqrt((one**2).sum(1) * (other**2).sum(1))
    return np.divide((one * other).sum(1), norms, out=np.zeros(len(norms)), where=norms > 0)


# --- groups ----------------------------------------------------------------------------------------------------------


def lvis_groups(train: Annotations) -> dict[int, str]:
    """Category id → group, as LVIS gives it by the number of training images.

    Raises:
        ConfigError: a category has no ``frequency``.
    """
    groups = dict(zip('rcf', GROUPS, strict=True))
    lacking = [one['name'] for one in train.categories.values() if one.get('frequency') not in groups]
    if lacking:
        raise ConfigError(
            f'{train.path} gives {len(lacking)} of its {len(train.categories)} categories no frequency of r, c or f '
            f'({some_names(lacking)}), by which LVIS splits them; name a training file of LVIS, or leave --lvis away.'
        )
    return {number: groups[one['frequency']] for number, one in train.categories.items()}


def count_groups(counts: Sequence[int], thresholds: Sequence[int] | None = None) -> tuple[list[str], str]:
    """Groups by the number of training annotations, and in words how.

    Args:
        counts: of each class.
        thresholds: the most annotations of a rare and of a common class; None for the thirds of the classes. Classes
            with equal counts are in one group.

    Raises:
        ConfigError: thresholds that do not rise.
    """
    if thresholds is not None and not 0 <= thresholds[0] < thresholds[1]:
        raise ConfigError(
            f'--thresholds are {thresholds[0]} and {thresholds[1]}; give the most annotations of a rare and of a '
            'common class, the smaller first.'
        )
    low, high = np.quantile(counts, [1 / 3, 2 / 3]) if thresholds is None else thresholds
    groups = [GROUPS[0] if count <= low else GROUPS[1] if count <= high else GROUPS[2] for count in counts]
    how = 'thirds of the classes by training annotations' if thresholds is None else 'given'
    return groups, f'{how}: rare up to {low:.0f}, common up to {high:.0f}'


# --- reading ---------------------------------------------------------------------------------------------------------


def read(
    train_ann: str | os.PathLike,
    val_ann: str | os.PathLike,
    base: Sequence[str | os.PathLike],
    other: Sequence[str | os.PathLike],
    iou_type: str = 'bbox',
    lvis: bool = False,
    thresholds: Sequence[int] | None = None,
) -> Gains:
    """Evaluate results files of two arms, each with any number of runs.

    Args:
        train_ann: what both arms were trained on; gives the numbers of annotations.
        val_ann: what both were tested on.
        base, other: results files, one for each run.
        iou_type: ``'bbox'`` or ``'segm'``.
        lvis: federated evaluation, and groups by the file's frequencies.
        thresholds: as in :func:`count_groups`.

    Raises:
        ConfigError: a file is missing, no results file, or of another data set; the annotation files differ in their
            categories or are not of the kind that ``lvis`` says; a package is missing.
    """
    _check_paths(base, other)
    evaluator(lvis)
    if lvis and thresholds is not None:
        raise ConfigError('--thresholds and --lvis exclude each other: LVIS has groups of its own; leave one away.')
    truth, train = read_annotations(val_ann, iou_type == 'segm'), read_annotations(train_ann, masks=False)
    check_kind(truth, lvis, iou_type)
    _check_categories(train, truth)
    by_number = lvis_groups(train) if lvis else {}
    annotations, images = ([counter[number] for number in truth.categories] for counter in train.counts())
    if lvis:
        groups, split = (
            [by_number[number] for number in truth.categories],
            'LVIS: rare up to 10 training images, common up to 100',
        )
    else:
        groups, split = count_groups(annotations, thresholds)
    files = [Path(path) for path in (*base, *other)]
    # All of them before the first is evaluated, which may take minutes. They are not kept: those of LVIS are large.
    for path in files:
        _say_how_many(path, truth, read_results(path, truth, iou_type))
    tables = [class_ap(truth, read_results(path, truth, iou_type), iou_type, lvis, path.name) for path in files]
    return Gains(
        list(truth.names.values()),
        groups,
        np.array(annotations),
        np.array(images),
        np.stack(tables[: len(base)]),
        np.stack(tables[len(base) :]),
        split,
        _arm_names(files[: len(base)], files[len(base) :]),
        'box AP' if iou_type == 'bbox' else 'mask AP',
    )


def _say_how_many(path: Path, truth: Annotations, found: list[dict]) -> None:
    of = len({one['image_id'] for one in found})
    say(f'{path}: {len(found)} detections in {of} of {len(truth.images)} images.')


def _check_paths(base: Sequence, other: Sequence) -> None:
    if not base or not other:
        raise ConfigError('name at least one results file of each arm, with --base and with --other.')
    files = [Path(path).resolve() for path in (*base, *other)]
    if twice := {str(path) for path in files if files.count(path) > 1}:
        raise ConfigError(f'{sorted(twice)[0]} is named twice among --base and --other; name each run once.')


def _check_categories(train: Annotations, truth: Annotations) -> None:
    if train.names == truth.names:
        return
    alone = set(train.names.values()) ^ set(truth.names.values())
    what = f'only one of them has {some_names(alone)}' if alone else 'the same names have other ids'
    raise ConfigError(
        f'{train.path} and {truth.path} have different categories ({what}); name the training annotations of the same '
        'data set.'
    )


def _arm_names(base: list[Path], other: list[Path]) -> tuple[str, str]:
    """What the files of an arm have in common and those of the other have not: in their names, or else a folder's."""
    suffix = re.compile(r'(\.(bbox|segm))?\.json$')
    arms = [
        [(suffix.sub('', path.name), *(one.name for one in path.resolve().parents)) for path in arm]
        for arm in (base, other)
    ]
    for parts in zip(*(zip(*arm, strict=False) for arm in arms), strict=False):
        # Of freeze_0 and freeze_1 it is freeze.
        one, two = (of[0] if len(of) == 1 else os.path.commonprefix(of).rstrip('_-. ') for of in parts)
        if one and two and one != two:
            return one, two
    return 'base', 'other'


# --- words -----------------------------------------------------------------------------------------------------------

_CLAIM = '**The gain grows as a class has fewer annotations** (Vasconcelos et al. 2022, figures 4 and 5).'


def verdict(gains: Gains) -> str:
    """What the numbers say of the claim; no more than the trend and the rare classes' mean show."""
    name, trend, rare = gains.arms[1], gains.trend(), gains.mean('rare')
    if trend is None:
        return 'Cannot be said: too few classes with objects to find, or all have equal numbers or equal Δ.'
    if 2 / math.factorial(trend.classes) >= 1 - _LEVEL:
        return f'Cannot be said: {trend.classes} classes are too few for any order to be told from chance.'
    if not trend.shown:
        return 'Not shown: no trend that could be told from chance.'
    if trend.rho > 0:
        return 'The opposite: Δ grows as a class has more annotations.'
    if rare is not None and rare.low > 0:
        return f'Holds in these results: Δ grows as annotations get fewer, and {name} is ahead in rare classes.'
    if rare is not None and rare.high < 0:
        return f'Holds in part: Δ grows as annotations get fewer, but {name} is behind in rare classes.'
    return f'Holds in part: Δ grows as annotations get fewer; that {name} is ahead in rare classes is not shown' + (
        f' ({rare}).' if rare else '.'
    )


def words(gains: Gains) -> str:
    """:func:`verdict` with the numbers behind it, as Markdown."""
    base, other = (
        f'{name} ({len(arm)} run{"s" * (len(arm) > 1)})'
        for name, arm in zip(gains.arms, (gains.base, gains.other), strict=True)
    )
    lines = [
        f'{_CLAIM} {verdict(gains)}',
        '',
        f'Mean Δ, {gains.metric} of {other} less that of {base}, in points, and trend of Δ with the number of '
        f'training annotations. Groups ({gains.split}).',
        '',
        markdown_table(
            ('objects', 'all', *GROUPS, 'trend'),
            (
                (size, *(gains.mean(group, size) or '–' for group in (None, *GROUPS)), gains.trend(size) or '–')
                for size in SIZES
            ),
        ),
    ]
    return '\n'.join([*lines, '', *(f'* {line}' for line in _notes(gains))]).rstrip()


def _notes(gains: Gains) -> list[str]:
    notes = [
        'In parentheses: 95 % intervals over classes, and over runs where both arms have several; for the trend '
        "(Spearman's ρ, negative where Δ grows as annotations get fewer) also p of a permutation test."
    ]
    if min(len(gains.base), len(gains.other)) == 1:
        notes.append('An arm with one run does not tell the noise between runs; the intervals are over classes alone.')
    if absent := int((~gains.members()).sum()):
        notes.append(f'Left out for want of an object to find: {absent} of {len(gains.names)} classes.')
    if unseen := [name for name, count in zip(gains.names, gains.annotations, strict=True) if count == 0]:
        notes.append(f'Without a training annotation: {some_names(unseen)}.')
    for name, arm in zip(gains.arms, (gains.base, gains.other), strict=True):
        for number, run in enumerate(arm[:, gains.members(), 0], 1):
            if not run.any():
                notes.append(
                    f'Run {number} of {name} has an AP of 0 in every class; is it of this data set, and trained?'
                )
    if np.array_equal(gains.base, gains.other, equal_nan=True):
        notes.append('Both arms have the same AP everywhere: are these results of different runs?')
    return notes


# --- tables ----------------------------------------------------------------------------------------------------------


def rows(gains: Gains) -> list[dict]:
    """One dict for each class: name, group, what it has in training, and AP of both arms and Δ at each size.

    ``error`` is the standard error of Δ over reruns, None where an arm has no reruns; values are None where there is
    nothing to find.
    """
    base, other = gains.base.mean(0), gains.other.mean(0)
    rerun = min(len(gains.base), len(gains.other)) > 1
    error = sum(arm[..., 0].var(0, ddof=1) / len(arm) for arm in (gains.base, gains.other)) ** 0.5 if rerun else None
    found = []
    for row, name in enumerate(gains.names):
        values = dict(
            name=name,
            group=gains.groups[row],
            train_annotations=int(gains.annotations[row]),
            train_images=int(gains.images[row]),
            error=_or_none(error[row]) if rerun else None,
        )
        for at, size in enumerate(SIZES):
            end = '' if size == 'all' else f'_{size}'
            values[f'base{end}'] = _or_none(base[row, at])
            values[f'other{end}'] = _or_none(other[row, at])
            values[f'delta{end}'] = _or_none(gains.delta[row, at])
        found.append(values)
    return found


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def table(gains: Gains, most: int | None = None) -> str:
    """Classes as a Markdown table, the rarest first.

    Args:
        most: where there are more classes, only the half of them with the highest and the half with the lowest Δ.
    """
    title = [
        'class',
        'group',
        'annotations',
        *(f'AP {name}' for name in gains.arms),
        'Δ',
        *(f'Δ {size}' for size in SIZES[1:]),
    ]
    ordered = sorted(rows(gains), key=lambda row: row['train_annotations'])
    lead = ''
    if most is not None and len(ordered) > most:
        measured = sorted((row for row in ordered if row['delta'] is not None), key=lambda row: -row['delta'])
        lead = f'{len(ordered)} classes; the {most // 2} with the highest Δ and the {most // 2} with the lowest:\n\n'
        ordered = measured[: most // 2] + measured[len(measured) - most // 2 :]
    lines = []
    for row in ordered:
        cells = [row['name'], row['group'], f'{row["train_annotations"]}']
        cells += [_cell(row[key], '.1f') for key in ('base', 'other')]
        cells += [_cell(row[key], '+.1f') for key in ('delta', *(f'delta_{size}' for size in SIZES[1:]))]
        lines.append(cells)
    return lead + markdown_table(title, lines, len(title) - 2)


def _cell(value: float | None, form: str) -> str:
    return '–' if value is None else format(value, form)


def to_csv(gains: Gains) -> str:
    """:func:`rows`; an empty entry is None."""
    text = io.StringIO()
    found = rows(gains)
    writer = csv.DictWriter(text, found[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(
        {key: f'{one:.6g}' if isinstance(one, float) else one for key, one in row.items()} for row in found
    )
    return text.getvalue()


def to_json(gains: Gains) -> str:
    """:func:`rows`, and means and trends of all groups and sizes."""

    def plain(one: Mean | Trend | None) -> dict | None:
        return one and {key: _or_none(value) for key, value in vars(one).items()}

    content = dict(
        arms=dict(zip(('base', 'other'), gains.arms, strict=True)),
        runs=dict(base=len(gains.base), other=len(gains.other)),
        metric=gains.metric,
        split=gains.split,
        verdict=verdict(gains),
        trends={size: plain(gains.trend(size)) for size in SIZES},
        means={size: {name or 'all': plain(gains.mean(name, size)) for name in (None, *GROUPS)} for size in SIZES},
        classes=rows(gains),
    )
    return json.dumps(content, indent=1, ensure_ascii=False)


# --- figure ----------------------------------------------------------------------------------------------------------


def running_mean(counts: np.ndarray, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Geometric means of counts and means of Δ, over a sixth of the classes, at least three, in order of their counts.

    A count of 0 is taken as 1. Empty where there are fewer classes than that.
    """
    window = max(3, round(len(counts) / 6))
    if len(counts) < window:
        return np.array([]), np.array([])
    order = np.argsort(counts, kind='stable')
    kernel = np.full(window, 1 / window)
    return (
        np.exp(np.convolve(np.log(np.maximum(counts[order], 1)), kernel, 'valid')),
        np.convolve(delta[order], kernel, 'valid'),
    )


def draw(gains: Gains, path: str | Path) -> list[Path]:
    """Δ of each class against its training annotations, and mean Δ of each group by object size.

    Args:
        path: file to write, see :func:`rethink.analysis.pictures.save`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout='constrained', width_ratios=(3, 2))
    draw_classes(left, gains)
    _draw_sizes(right, gains)
    right.grid(alpha=0.25, axis='y')
    for axes in (left, right):
        axes.axhline(0, color='black', linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
    base, other = gains.arms
    figure.suptitle(f'{gains.metric}: {other} less {base}', fontsize=11)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc='outside lower center', ncols=len(labels))
    files = pictures.save(figure, path)
    plt.close(figure)
    return files


def draw_classes(axes: Axes, gains: Gains) -> None:
    """Δ of each class against its training annotations."""
    many = len(gains.names) > 100
    for group in GROUPS:
        members = gains.members(group)
        if members.any():
            axes.scatter(
                gains.annotations[members],
                gains.delta[members, 0],
                s=10 if many else 26,
                alpha=0.5 if many else 0.8,
                color=_LOOKS[group].colour,
                marker=_LOOKS[group].marker,
                linewidths=0,
                label=f'{group} ({members.sum()})',
            )
    members = gains.members()
    if members.sum() <= _NAMED:
        for at in np.flatnonzero(members):
            place = gains.annotations[at], gains.delta[at, 0]
            axes.annotate(gains.names[at], place, (4, 3), textcoords='offset points', fontsize=7, color='dimgrey')
    axes.plot(*running_mean(gains.annotations[members], gains.delta[members, 0]), color='black', label='running mean')
    counts = gains.annotations[members]
    if (counts == 0).any():  # which has no place on a logarithmic axis
        axes.set_xscale('symlog', linthresh=1)
    else:
        axes.set_xscale('log')
        decades = math.log10(max(counts) / min(counts)) if len(counts) else 0
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: f'{count:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.25)
    axes.set(xlabel='training annotations of the class', ylabel='Δ AP, points')


def _draw_sizes(axes: Axes, gains: Gains) -> None:
    width = 0.8 / len(GROUPS)
    for place, group in enumerate(GROUPS):
        means = [(at, gains.mean(group, size)) for at, size in enumerate(SIZES)]
        means = [(at + (place - 1) * width, mean) for at, mean in means if mean]
        if not means:
            continue
        where, found = zip(*means, strict=True)
        half = [0 if math.isnan(one.low) else one.high - one.value for one in found]
        axes.bar(
            where,
            [one.value for one in found],
            0.9 * width,
            yerr=half,
            color=_LOOKS[group].colour,
            hatch=_LOOKS[group].hatch,
            edgecolor='white',
            linewidth=0.5,
            error_kw=dict(elinewidth=1, capsize=2),
        )
    axes.set_xticks(range(len(SIZES)), SIZES)
    axes.set(xlabel='object size', ylabel='mean Δ AP, points, and 95 % interval', xlim=(-0.6, len(SIZES) - 0.4))
