"""What the tools say: sentences about wrong input, and lines for a person."""

import contextlib
import logging
import os
import re
import traceback
from collections.abc import Iterator

# In the text of what torch.utils.data raises in place of a worker's exception.
_PASSED_ON = 'Original Traceback (most recent call last)'


class ConfigError(ValueError):
    """Wrong input, told in one sentence: what is wrong, where, and what to do.

    From a data worker it comes as a new one, whose text is the worker's traceback: of that the sentence is kept.
    """

    def __init__(self, message: str = '') -> None:
        if _PASSED_ON in message:
            message = message.rstrip().splitlines()[-1].partition(': ')[2]
        super().__init__(message)


class NotOnlyWeights(ConfigError):
    """A file that holds more than values, and would run code when it is read (:mod:`rethink.trust`)."""


class Diverged(FloatingPointError):
    """The loss or the weights of a training are no numbers any more, told in one sentence."""


class JobError(RuntimeError):
    """Says in one sentence why the trainings that a tool has started cannot go on."""


def say(message: str) -> None:
    """Print a line, from the first process of each machine."""
    if os.environ.get('LOCAL_RANK', '0') == '0':
        print(message, flush=True)


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Within, libraries log no initialisation, group of parameters or load: a training says them itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def some_names(names) -> str:
    """The first names of some, for a sentence."""
    names = sorted(names)
    return ', '.join(map(repr, names[:4])) + (f' and {len(names) - 4} more' if len(names) > 4 else '')


def last_line(error: BaseException) -> str:
    """Of its text: what a data worker raised ends there, after the traceback that it passes on as text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else ''


def describe(error: BaseException) -> str:
    """An exception as part of a sentence, in one line."""
    if _PASSED_ON in str(error):
        return last_line(error).rstrip('.')
    text = ' '.join(str(error).split()).rstrip('.')
    if not text and isinstance(error, AssertionError) and error.__traceback__:
        text = (traceback.extract_tb(error.__traceback__)[-1].line or '').removeprefix('assert ')
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def raised_at(error: BaseException) -> str | None:
    """'file:line' in a data worker that passed the exception on; None of any other."""
    found = re.findall(r'File "([^"]+)", line (\d+)', str(error)) if _PASSED_ON in str(error) else []
    return ':'.join(found[-1]) if found else None
