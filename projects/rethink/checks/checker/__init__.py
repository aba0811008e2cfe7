"""What is probably not meant in a config: rules that know the three studies, and say reason, source and fix.

:func:`check` is what ``tools/misc/check_config.py`` prints and what ``tools/train.py`` asks before it trains. Unlike
:mod:`rethink.checks.preflight`, which finds what would end a run, it finds what would make one worthless.
"""

from mmengine.config import Config

from ...errors import ConfigError, say
from . import data, init, pretraining, schedule  # noqa: F401  (they register their rules)
from .facts import Facts
from .findings import LEVELS, RULES, Finding, as_json, count, run, text

__all__ = ['LEVELS', 'RULES', 'Finding', 'as_json', 'check', 'count', 'stop_on_errors', 'text']


def check(cfg: Config, gpus: int | None = None) -> list[Finding]:
    """What the rules find in a config, the worst first.

    Reads the config and, where they are there, its annotations; loads no weights and downloads nothing.

    Args:
        cfg: resolved.
        gpus: processes that train; None takes the config's own batch size for granted.
    """
    return run(Facts(cfg, gpus))


def stop_on_errors(cfg: Config, processes: int) -> None:
    """Before a training: print what the rules find, notes left away.

    Raises:
        ConfigError: an error is among it.
    """
    findings = [one for one in check(cfg, processes) if one.level != 'note']
    warnings = [one for one in findings if one.level == 'warning']
    errors = [one for one in findings if one.level == 'error']
    if warnings:
        say(f'{text(warnings)} in {cfg.filename}')
    if errors:
        worst = errors[0]
        more = f' (and {count(errors[1:])} more, by tools/misc/check_config.py)' if errors[1:] else ''
        raise ConfigError(
            f'{worst.what.rstrip(".")}{more}: {worst.why.rstrip(".")}; in {worst.where}: {worst.fix}, or train it as '
            'it is with --no-check.'
        )
