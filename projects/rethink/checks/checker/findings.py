"""What a rule has to say of a config, and the list of all rules."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from textwrap import fill

LEVELS = ('error', 'warning', 'note')


@dataclass(frozen=True)
class Finding:
    """One thing that is probably not meant.

    Args:
        level: ``'error'``: what comes out of the training is worth nothing; ``'warning'``: worth less than it could
            be, by a published or measured result; ``'note'``: to know.
        where: dotted name in the config.
        what: what is there, one sentence.
        why: what it does to the training.
        source: who says so: a section of a paper, a page of MMDetection or of this project.
        fix: what to write instead.
        rule: the name of the rule; filled in by :func:`run`.
    """

    level: str
    where: str
    what: str
    why: str
    source: str
    fix: str
    rule: str = ''

    def __str__(self) -> str:
        head = fill(f'{self.level}: {self.what} [{self.rule}]', 110, subsequent_indent='  ')
        rows = (('where', self.where), ('why', f'{self.why} ({self.source})'), ('fix', self.fix))
        return '\n'.join(
            [
                head,
                *(
                    fill(text, 110, initial_indent=f'  {name + ":":7}', subsequent_indent=' ' * 9)
                    for name, text in rows
                ),
            ]
        )


RULES: dict[str, Callable[..., Iterable[Finding]]] = {}


def rule(name: str):
    """Register a function of :class:`~rethink.checks.checker.facts.Facts` that yields findings, under their name."""

    def register(function):
        RULES[name] = function
        return function

    return register


def run(facts) -> list[Finding]:
    """What all rules find, the worst first."""

    def found() -> Iterator[Finding]:
        for name, function in RULES.items():
            for one in function(facts):
                yield Finding(**{**asdict(one), 'rule': name})

    return sorted(found(), key=lambda one: LEVELS.index(one.level))


def text(findings: list[Finding]) -> str:
    """For a terminal; the last line counts."""
    return '\n\n'.join([*map(str, findings), count(findings)])


def count(findings: list[Finding]) -> str:
    """Such as ``'1 error, 2 warnings'``."""
    numbers = [(level, sum(one.level == level for one in findings)) for level in LEVELS]
    return ', '.join(f'{n} {level}{"s" * (n > 1)}' for level, n in numbers if n) or 'nothing found'


def as_json(found: dict[str, list[Finding]]) -> str:
    """Config → findings, as a list of objects with the names of :class:`Finding`."""
    return json.dumps({config: [asdict(one) for one in findings] for config, findings in found.items()}, indent=1)
