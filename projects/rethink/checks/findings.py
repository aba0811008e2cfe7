"""What a rule has to say of a config, and the list of all rules."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from textwrap import fill

LEVELS = ('error', 'missing', 'warning', 'note')


@dataclass(frozen=True)
class Finding:
    """One thing that is probably not meant, or cannot go on.

    Args:
        level: ``'error'``: a run would end with it, or what comes out of a training is worth nothing; ``'missing'``:
            what the config names is not on this machine, so a run would end here; ``'warning'``: worth less than it
            could be, by a published or measured result; ``'note'``: to know.
        where: dotted name in the config.
        what: what is there, one sentence.
        why: what it does to the training, where that does not go without saying.
        source: who says so: a section of a paper, a page of MMDetection or of this project.
        fix: what to write instead.
        rule: the name of the rule; filled in by :func:`run`, as is
        ends: a run would end with it, so that ``--no-check`` is no way out.
        sure: it is so; otherwise numbers suggest it, and with ``--no-check`` it is a warning.
    """

    level: str
    where: str
    what: str
    why: str = ''
    source: str = ''
    fix: str = ''
    rule: str = ''
    ends: bool = False
    sure: bool = True

    def __str__(self) -> str:
        head = fill(f'{self.level}: {self.what} [{self.rule}]', 110, subsequent_indent='  ')
        why = f'{self.why} ({self.source})' if self.source and self.why else self.why
        see = '' if self.why else self.source
        rows = (('where', self.where), ('why', why), ('see', see), ('fix', self.fix))
        indents = dict(subsequent_indent=' ' * 9)
        rest = [fill(text, 110, initial_indent=f'  {name + ":":7}', **indents) for name, text in rows if text]
        return '\n'.join([head, *rest])

    def sentence(self, more: str = '') -> str:
        """All of it as the one of a :class:`~rethink.errors.ConfigError`; ``more`` stands behind what is wrong."""
        why = f': {self.why.rstrip(".")}' if self.why else ''
        place = '' if self.where in self.what else f'in {self.where}: '
        way_out = '' if self.ends else ', or train it as it is with --no-check'
        return f'{self.what.rstrip(".")}{more}{why}; {place}{self.fix}{way_out}.'


# Name → the function that finds, and whether its errors end a run.
RULES: dict[str, tuple[Callable[..., Iterable[Finding]], bool]] = {}


def rule(name: str, ends: bool = False):
    """Register a function of :class:`~rethink.checks.facts.Facts` that yields findings, under their name.

    Args:
        ends: what it finds ends a run, a test too, so that it is asked before each; others are asked before a
            training, and not with ``--no-check``.
    """

    def register(function):
        RULES[name] = function, ends
        return function

    return register


def run(facts, all_rules: bool = True) -> list[Finding]:
    """What the rules find, or those alone whose errors end a run: such errors first, then the worst."""

    def found() -> Iterator[Finding]:
        for name, (find, ends) in RULES.items():
            for one in find(facts) if ends or all_rules else ():
                bad = one.level in ('error', 'missing')
                level = 'warning' if bad and not one.sure and not all_rules else one.level
                yield replace(one, rule=name, level=level, ends=ends and bad and one.sure)

    return sorted(found(), key=lambda one: (not one.ends, LEVELS.index(one.level)))


def text(findings: list[Finding]) -> str:
    """For a terminal; the last line counts."""
    return '\n\n'.join([*map(str, findings), count(findings)])


def count(findings: list[Finding]) -> str:
    """Such as ``'1 error, 2 warnings'``."""
    numbers = [(level, sum(one.level == level for one in findings)) for level in LEVELS]
    parts = [f'{n} {level}{"s" * (n > 1 and level != "missing")}' for level, n in numbers if n]
    return ', '.join(parts) or 'nothing found'


def as_json(found: dict[str, list[Finding]]) -> str:
    """Config → findings, as a list of objects with the names of :class:`Finding`."""
    return json.dumps({config: [asdict(one) for one in findings] for config, findings in found.items()}, indent=1)
