"""Inequalities between sums of results, in which studies write what they claim.

``scratch_6x > pretrain_6x``, ``a - b > c - d``, ``a[coco/bbox_mAP_75] > 1.05 * b[coco/bbox_mAP_75]`` or ``a > b - 1``
(at most a point behind): a name is a run's result by the run's metric, or by the one in brackets. Parts are separated
by spaces.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigError

_NUMBER = r'\d+(?:\.\d+)?'
_SUMMAND = re.compile(
    rf'(?:(?P<sign>[+-])\s+)?(?:(?P<factor>{_NUMBER})\s+\*\s+)?'
    rf'(?:(?P<number>{_NUMBER})|(?P<run>[^\s\[\]*]+)(?:\[(?P<metric>[^\[\]]+)\])?)(?=\s|$)'
)


@dataclass(frozen=True)
class Sum:
    """``terms`` · results + ``constant`` > 0: a claim with everything on one side.

    Args:
        terms: (run, metric) -> factor.
    """

    terms: dict[tuple[str, str], float]
    constant: float

    def __call__(self, value: Callable[[str, str], float]) -> float:
        """With the value of each (run, metric)."""
        return sum(factor * value(*key) for key, factor in self.terms.items()) + self.constant


class Declared(Protocol):
    """What an expression needs of :class:`rethink.studies.study.Study`, which reads its own claims."""

    path: Path

    def run(self, name: str) -> Any: ...


def parse(text: str, study: Declared) -> Sum:
    """
    Raises:
        ConfigError: it is no such inequality, or names a run that the study does not have.
    """

    def wrong(what: str) -> ConfigError:
        return ConfigError(
            f'{study.path}: the claim {text!r} {what}; write it as in `a > b` or `a - b > 0.5 * c - 1`, with spaces.'
        )

    sides = re.split(r'\s([<>])\s', f' {text} ')
    if len(sides) != 3:
        raise wrong('has not one < or > between spaces')
    terms: dict[tuple[str, str], float] = {}
    constant = 0.0
    for side, turn in ((sides[0], 1), (sides[2], -1)):
        turn *= 1 if sides[1] == '>' else -1
        rest, first = side.strip(), True
        while rest or first:
            found = _SUMMAND.match(rest)
            if not found or not (first or found['sign']):
                raise wrong(f'cannot be read at {rest!r}')
            factor = turn * (-1 if found['sign'] == '-' else 1) * float(found['factor'] or 1)
            if found['number']:
                constant += factor * float(found['number'])
            else:
                run = study.run(found['run'])
                key = run.name, found['metric'] or run.metric
                terms[key] = terms.get(key, 0.0) + factor
            rest, first = rest[found.end() :].lstrip(), False
    terms = {key: factor for key, factor in terms.items() if factor}
    if not terms:
        raise wrong('is no inequality between results')
    return Sum(terms, constant)
