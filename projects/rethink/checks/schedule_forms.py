"""Schedules by their form, against the length of a training: what of each comes after its end."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi

from ..config_tree import type_name
from .facts import Facts
from .findings import Finding

LOOPS = 'MMEngine, EpochBasedTrainLoop and IterBasedTrainLoop'
UNITS = {True: 'epochs', False: 'iterations'}


def too_late(where: str, what: str, why: str, fix: str, level: str = 'warning') -> Finding:
    return Finding(level, where, what, why, LOOPS, fix)


@dataclass(frozen=True)
class Schedule:
    """A schedule in its own unit.

    Args:
        where: its dotted name.
        cfg: its config.
        kind: name of its class.
        form: what :mod:`mmengine` calls it without ``LR``, ``Momentum`` or ``ParamScheduler``.
        changes: what it changes, for a sentence.
        length: of the training, in its unit.
        exact: it is no more than the most that the training can be.
        has: the length as a sentence.
    """

    where: str
    cfg: dict
    kind: str
    form: str
    changes: str
    length: int
    exact: bool
    has: str

    @property
    def begin(self) -> int:
        return self.cfg.get('begin') or 0

    @property
    def end(self) -> int:
        """MMEngine's default is the end of the training."""
        end = self.cfg.get('end')
        return end if isinstance(end, int | float) else self.length

    @property
    def steps(self) -> int:
        """That it makes."""
        return min(self.end, self.length) - self.begin


_SUFFIX = re.compile('(LR|Momentum|ParamScheduler)$')


def schedules(facts: Facts, run: tuple[int, bool]) -> Iterator[Schedule]:
    """Of whose unit the training's length is known."""
    length, epochs = run
    has = f'the training has {length} {UNITS[epochs]}'
    for where, one in facts.schedulers:
        kind = type_name(one['type'])
        suffix = _SUFFIX.search(kind)
        changes = {'LR': 'learning rate', 'Momentum': 'momentum'}.get(
            suffix[0] if suffix else '', one.get('param_name', 'learning rate')
        )
        of_it = where, one, kind, _SUFFIX.sub('', kind), changes
        by_epoch = bool(one.get('by_epoch', True))
        if by_epoch == epochs:
            yield Schedule(*of_it, length, True, has)
        elif epochs and facts.iterations:
            in_iterations = f'the training has {facts.iterations} iterations ({length} epochs)'
            yield Schedule(*of_it, facts.iterations, False, in_iterations)


def as_number(value) -> float:
    """Of what is none, one that no length is below."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else float('-inf')


# What may be left of the way down at the end of a training: below, a schedule is as good as complete. Ours.
_LEFT = 0.1
# Iterations of an epoch are others with other data and other processes.
_OR_EPOCHS = ', or epochs with by_epoch=True, convert_to_iter_based=True'


def _falls(one: Schedule, falls: list[int], key: str, fix: str) -> Iterator[Finding]:
    """At steps of a schedule, which count from its beginning."""
    at = [one.begin + fall for fall in falls]
    late = [fall for fall in at if fall >= one.length]
    fix += '' if one.exact else _OR_EPOCHS
    beyond = [fall for fall in at if fall >= one.end]
    if late:
        what = f'{one.has}, and the {one.changes} was to fall at {", ".join(map(str, late))}.'
        yield too_late(f'{one.where}.{key}', what, 'it does not fall there.', fix)
    elif beyond:
        what = f'{one.kind} ends at {one.end}, and the {one.changes} was to fall at {", ".join(map(str, beyond))}.'
        yield too_late(f'{one.where}.end', what, 'it does not fall there.', f'end={one.length}')


def _milestones(one: Schedule) -> Iterator[Finding]:
    marks = [mark for mark in one.cfg.get('milestones') or [] if isinstance(mark, int)]
    yield from _falls(one, marks, 'milestones', 'milestones within the training')


def _every(one: Schedule) -> Iterator[Finding]:
    size = one.cfg.get('step_size')
    if isinstance(size, int) and size > 0:
        yield from _falls(one, [size], 'step_size', f'step_size below {one.length - one.begin}')


def _ramp(one: Schedule) -> Iterator[Finding]:
    if one.end <= one.length:
        return
    begins, ends = one.cfg.get('start_factor', 1 / 3), one.cfg.get('end_factor', 1.0)
    if one.form == 'Linear' and as_number(ends) < as_number(begins):
        yield from _not_down(one, one.end - one.begin, 1 - one.steps / (one.end - one.begin), 'end')
        return
    what = f'{one.has}, and the warm-up ends at {one.end}.'
    more = '' if one.exact else ', or more epochs'
    fix = f'{one.where}.end = less than {one.length}{more}'
    yield too_late(f'{one.where}.end', what, f'the {one.changes} is never reached.', fix)


def _not_down(one: Schedule, period: float, left: float, key: str, fix: str = '') -> Iterator[Finding]:
    if left > _LEFT:
        what = f'{one.has}, and {one.kind} makes {one.steps} of its {period} steps.'
        why = f'at the end {min(left, 1):.0%} of the way down is left, and the small {one.changes} never comes.'
        fix = (fix or f'{key}={one.begin * (key == "end") + one.steps}') + ('' if one.exact else _OR_EPOCHS)
        yield too_late(f'{one.where}.{key}', what, why, fix)


def _cosine(one: Schedule) -> Iterator[Finding]:
    period = one.cfg.get('T_max') or one.end - one.begin
    if period > one.steps:
        left = (1 + cos(pi * one.steps / period)) / 2
        yield from _not_down(one, period, left, 'T_max' if one.cfg.get('T_max') else 'end')


def _poly(one: Schedule) -> Iterator[Finding]:
    period = one.end - one.begin
    if period > one.steps:
        yield from _not_down(one, period, (1 - one.steps / period) ** one.cfg.get('power', 1.0), 'end')


def _one_cycle(one: Schedule) -> Iterator[Finding]:
    period = one.cfg.get('total_steps') or one.end - one.begin
    if period > one.steps:
        top = one.cfg.get('pct_start', 0.3) * (2 if one.cfg.get('three_phase') else 1) * period
        part = (one.steps - top) / (period - top) if period > top else 1
        left = 1 if part <= 0 else 1 - part if one.cfg.get('anneal_strategy') == 'linear' else (1 + cos(pi * part)) / 2
        yield from _not_down(one, period, left, 'total_steps' if one.cfg.get('total_steps') else 'end')


def _restarts(one: Schedule) -> Iterator[Finding]:
    periods = [period for period in one.cfg.get('periods') or [] if isinstance(period, int)]
    begins = [one.begin + sum(periods[:index]) for index in range(1, len(periods))]
    late = [begin for begin in begins if begin >= min(one.end, one.length)]
    if late:
        what = f'{one.has}, and {one.kind} was to restart at {", ".join(map(str, late))}.'
        yield too_late(f'{one.where}.periods', what, 'it does not.', f'periods that are {one.steps} together')
    elif periods and sum(periods) > one.steps:
        done = one.steps - sum(periods[:-1])
        left = (1 + cos(pi * done / periods[-1])) / 2
        yield from _not_down(one, sum(periods), left, 'periods', f'periods that are {one.steps} together')


_OF_FORM = {
    'MultiStep': _milestones,
    'Step': _every,
    'Linear': _ramp,
    'Constant': _ramp,
    'QuadraticWarmup': _ramp,
    'CosineAnnealing': _cosine,
    'Poly': _poly,
    'OneCycle': _one_cycle,
    'CosineRestart': _restarts,
}


def after_the_end(one: Schedule) -> Iterator[Finding]:
    if one.begin >= one.length:
        what = f'{one.has}, and {one.kind} begins at {one.begin}.'
        yield too_late(f'{one.where}.begin', what, 'it is never used.', 'begin and end within the training')
    elif one.form in _OF_FORM:
        yield from _OF_FORM[one.form](one)
