"""The tables and sentences of a report that Markdown and the page share."""

import shlex
from typing import NamedTuple

import numpy as np

from ..analysis import class_gains
from ..costs import report as costs
from ..reuse import tool
from .claims import Claim
from .classes import Classes
from .findings import SETTING, Findings, Pair, Result
from .gallery import SCORE, Gallery

# Of a table of classes.
CLASSES = 30

OF_CLAIMS = (
    'A claim is shown when the whole 95 % interval of how far its side is ahead is above 0, contradicted when all of '
    'it is below, else not decided. In points of 100.'
)
OF_COSTS = f'One training step of {SETTING.words}: operations (a multiply-add is 2), bytes kept for the backward pass.'


class Table(NamedTuple):
    """Titles of the columns, and rows of cells."""

    head: list[str]
    rows: list[list[str]]


def number(value: float | None, form: str = '.1f') -> str:
    """A value in points; '–' where there is none."""
    return '–' if value is None else format(value, form)


def interval(claim: Claim) -> str:
    return '–' if claim.low is None else f'{claim.low:+.1f} to {claim.high:+.1f}'


def of_claims(found: Findings) -> Table:
    head = ['', 'claim', 'verdict', 'ahead by', '95 % interval', 'from', 'published']
    rows = []
    for at, one in enumerate(found.claims, 1):
        cells = [str(at), one.sentence, one.verdict, number(one.value, '+.1f'), interval(one), one.how]
        rows.append([*cells, '' if one.published is None else number(one.published, '+.1f')])
    return _filled(head, rows)


def _filled(head: list[str], rows: list[list[str]]) -> Table:
    """Without the columns that are empty."""
    kept = [at for at in range(len(head)) if any(row[at] for row in rows)]
    return Table([head[at] for at in kept], [[row[at] for at in kept] for row in rows])


def of_results(found: Findings) -> Table:
    """A row for each metric of a run."""
    head = ['run', 'metric', 'mean ± over seeds', 'each seed', 'published', 'measured less published', 'not finished']
    rows = []
    for one in found.results:
        difference = None if None in (one.mean, one.published) else one.mean - one.published
        several = ', '.join(number(value) for value in one.values.values()) if len(one.values) > 1 else ''
        published = ['', ''] if one.published is None else [number(one.published), number(difference, '+.1f')]
        rows.append([one.run, one.metric, mean(one), several, *published, one.state])
    if len(found.seeds) == 1:
        head[2] = 'measured'
    return _filled(head, rows)


def mean(one: Result) -> str:
    return number(one.mean) + ('' if one.spread is None else f' ± {one.spread:.1f}')


def of_costs(found: Findings) -> Table:
    head = ['run', found.metric, 'GFLOP of a step', 'MiB kept', 'M parameters', 'trained', 'missing']
    rows = []
    for one in found.costs:
        cells = [''] * 4
        if one.cost:
            cells = [
                f'{one.cost.step.flops / costs.GIGA:,.1f}',
                f'{one.cost.kept / costs.MIB:,.1f}',
                f'{one.cost.parameters / 1e6:.2f}',
                f'{100 * one.cost.trainable / max(one.cost.parameters, 1):.0f} %',
            ]
        rows.append([one.run, number(one.ap), *cells, one.why])
    return _filled(head, rows)


def of_class_ap(one: Classes) -> Table:
    """A row for each class, by falling AP of all arms, behind the mean over the classes where there are several."""
    head = ['class', 'objects', *(arm.name for arm in one.arms)]
    mean = np.mean([arm.ap.mean(0) for arm in one.arms], 0)
    rows = [
        [one.names[at], str(one.objects[at]), *(_with_spread(arm.ap[:, at]) for arm in one.arms)]
        for at in sorted(range(len(one.names)), key=lambda at: (np.isnan(mean[at]), -mean[at]))
    ]
    if len(one.names) > 1:
        whole = [f'all {len(one.names)}', str(one.objects.sum()), *(_with_spread(arm.overall) for arm in one.arms)]
        rows.insert(0, whole)
    return Table(head, rows)


def _with_spread(values: np.ndarray) -> str:
    """Mean, and standard deviation of several; '–' where nothing is to be found."""
    if np.isnan(values).any():
        return '–'
    return number(values.mean()) + (f' ± {values.std(ddof=1):.1f}' if len(values) > 1 else '')


def about_class_ap(found: Findings) -> str:
    """What the tables and curves are."""
    several = ', mean ± standard deviation over seeds' if len(found.seeds) > 1 else ''
    return (
        f"COCO's AP over IoU 0.5 to 0.95 after the last iteration, in points of 100{several}; objects are those of "
        'the validation images. The area below a curve is the AP at its IoU.'
    )


def of_classes(gains: class_gains.Gains) -> Table:
    """The rarest first; where there are many, those with the highest and the lowest Δ."""
    head = ['class', 'group', 'annotations', *gains.arms, 'Δ']
    ordered = class_gains.rows(gains)
    if len(ordered) > CLASSES:
        measured = sorted((one for one in ordered if one['delta'] is not None), key=lambda one: -one['delta'])
        ordered = measured[: CLASSES // 2] + measured[len(measured) - CLASSES // 2 :]
    else:
        ordered = sorted(ordered, key=lambda one: one['train_annotations'])
    rows = [
        [one['name'], one['group'], str(one['train_annotations'])]
        + [number(one['base']), number(one['other']), number(one['delta'], '+.1f')]
        for one in ordered
    ]
    return Table(head, rows)


def of_groups(gains: class_gains.Gains) -> Table:
    head = ['classes', 'mean Δ (95 % interval)']
    rows = [[group or 'all', str(gains.mean(group) or '–')] for group in (None, *class_gains.GROUPS)]
    return Table(head, [*rows, ['trend', str(gains.trend() or '–')]])


def counted(pair: Pair) -> str:
    number = len(pair.differences.rows)
    return f'{number} difference{"s" * (number != 1)}'


def about_gallery(gallery: Gallery) -> list[str]:
    """What its pictures are, and what is missing."""
    one, other = gallery.runs
    first, second, same = gallery.ahead
    seed = '' if gallery.seed is None else f' (seed {gallery.seed})'
    text = (
        f'{one} has the higher F1 in {first} validation images, {other} in {second}, both the same in {same}{seed}; '
        f'detections with a score of {SCORE} or more, at an IoU of 0.5.'
    )
    return [text] * (first + second + same > 0) + [gallery.why] * bool(gallery.why)


def command(found: Findings) -> str:
    """That runs the study with these seeds."""
    return shlex.join(
        [*tool('study.py').split(), 'run', found.study, '--seeds', *map(str, found.seeds), '--out-dir', found.out]
    )
