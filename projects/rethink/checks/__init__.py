"""What is wrong with a run, found before it starts: its config, its data, its weights, what it is resumed from.

A rule is a function in the file of its subject that yields findings. Some would end a run, some make it worthless;
:func:`check` lists them all, and :func:`stop_on_errors` ends with the first. Neither trains, downloads or writes. What
takes a model is looked at when there is one (:mod:`.weights`), what takes a runner when that resumes
(:mod:`.resumable`). The rules (:mod:`.rules`) are imported when they are asked.
"""

from mmengine.config import Config

from ..errors import ConfigError, say
from ..reuse import tool
from .findings import LEVELS, Finding, as_json, count, run, text

__all__ = ['LEVELS', 'Finding', 'as_json', 'check', 'count', 'stop_on_errors', 'text']


def check(cfg: Config, gpus: int | None = None) -> list[Finding]:
    """What the rules find in the config of a training, the worst first.

    Reads the config and, where they are there, its annotations; loads no weights.

    Args:
        cfg: resolved.
        gpus: processes that train; None takes the config's own batch size for granted.
    """
    from .rules import Facts

    return run(Facts(cfg, gpus))


def stop_on_errors(cfg: Config, stage: str = 'train', processes: int | None = None, worthless: bool = False) -> None:
    """Before a run: print the warnings, and end with the worst of the errors.

    Args:
        stage: ``'train'`` looks at the training and validation data (with ``ValAndTestLoop`` also at the test data),
            ``'test'`` at the test data.
        worthless: by all rules, of a training; by default those alone whose errors would end it.

    Raises:
        ConfigError: an error is among it, or something that is not on this machine.
    """
    if not cfg.get(f'{stage}_dataloader'):
        raise ConfigError(f'{cfg.filename} has no {stage}_dataloader, so there is nothing to {stage}.')
    from .rules import Facts

    findings = run(Facts(cfg, processes, stage), worthless)
    warnings = [one for one in findings if one.level == 'warning']
    if warnings:
        say(f'{text(warnings)} in {cfg.filename}')
    errors = [one for one in findings if one.level in ('error', 'missing')]
    if errors:
        where = f', by {tool("misc/check_config.py")}' if stage == 'train' else ''
        raise ConfigError(errors[0].sentence(f' (and {count(errors[1:])} more{where})' if errors[1:] else ''))


def __getattr__(name: str):
    if name in ('Facts', 'RULES'):
        from . import rules

        return getattr(rules, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
