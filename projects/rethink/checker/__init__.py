"""What is probably not meant in a config: rules that know the three studies, and say reason, source and fix.

:func:`check` is what ``tools/misc/check_config.py`` prints and what ``tools/train.py`` asks before it trains. Unlike
:mod:`rethink.preflight`, which finds what would end a run, it finds what would make one worthless.
"""

from mmengine.config import Config

from . import data, init, pretraining, schedule  # noqa: F401  (they register their rules)
from .facts import Facts
from .findings import LEVELS, RULES, Finding, as_json, count, run, text

__all__ = ['LEVELS', 'RULES', 'Finding', 'as_json', 'check', 'count', 'text']


def check(cfg: Config, gpus: int | None = None) -> list[Finding]:
    """What the rules find in a config, the worst first.

    Reads the config and, where they are there, its annotations; loads no weights and downloads nothing.

    Args:
        cfg: resolved.
        gpus: processes that train; None takes the config's own batch size for granted.
    """
    return run(Facts(cfg, gpus))
