"""How a tool ends: with one sentence on stderr where something is wrong, and with its processes."""

import contextlib
import os
import sys
import time
import traceback
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import torch.distributed
from mmengine.config import Config

from .errors import ConfigError
from .jobs import JobError
from .preflight import remote_checkpoints
from .processes import end_processes, leave


def where(error: BaseException, beside: Path | None = None) -> str:
    """'file:line' of the innermost frame of ``error``, or of the innermost one that is a config."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if beside is None or (frame.name == '<module>' and Path(frame.filename).suffix == '.py' and _is_config(frame)):
            return f'{frame.filename}:{frame.lineno}'
    return str(beside)


def _is_config(frame) -> bool:
    # MMEngine compiles a config under its own path; modules of packages run their body under that name as well.
    return '/site-packages/' not in frame.filename and not frame.filename.startswith('<')


def describe(error: BaseException) -> str:
    """An exception as part of a sentence, in one line."""
    text = ' '.join(str(error).split()).rstrip('.')
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def cannot_be_built(cfg: Config, error: Exception) -> str:
    return (
        f'{cfg.filename} with its overrides cannot be built: {describe(error)} (raised at {where(error)}; '
        'RETHINK_TRACEBACK=1 shows the way there).'
    )


@contextlib.contextmanager
def one_sentence():
    """End the process with one sentence on stderr and exit code 2 where the input is wrong.

    That is a :class:`ConfigError`, a part of the config that cannot be built, or a download that fails. Of several
    processes the first on each machine speaks. Everything else passes with its traceback, and ``RETHINK_TRACEBACK=1``
    shows that of these as well. The body leaves its config on the context, as ``context.cfg``. Where all went
    well, one of several processes closes its group and ends here, too.
    """
    context = SimpleNamespace(cfg=None)
    try:
        yield context
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            end_processes()
            leave()
    except Exception as error:
        message = str(error)
        frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
        if isinstance(error, ConfigError):
            pass
        elif context.cfg is not None and 'build_from_cfg' in frames and 'run_iter' not in frames:
            # Data sets, optimiser and schedule are built when training starts.
            message = cannot_be_built(context.cfg, error)
        elif not isinstance(error, urllib.error.URLError):
            raise
        else:
            remote = ', '.join(remote_checkpoints(context.cfg or {})) or 'a file'
            message = (
                f'{remote} could not be downloaded ({describe(error)}); get it on a machine with a network and name '
                'the local file in its place.'
            )
        if os.environ.get('RETHINK_TRACEBACK'):
            traceback.print_exc()
        if os.environ.get('LOCAL_RANK', '0') != '0':
            # Launchers kill the others as soon as one ends: let the first speak. If it is still alive after that,
            # only this process met the error.
            time.sleep(30)
        print(f'error: {message}', file=sys.stderr, flush=True)
        sys.stdout.flush()
        # Not sys.exit: threads of an open process group may keep a process from ending.
        os._exit(2)


@contextlib.contextmanager
def several_trainings():
    """:func:`one_sentence` around a tool that runs jobs (:mod:`rethink.jobs`), and stops with them.

    A job that fails, or another run in the folder, ends the process with that sentence and exit code 1; Ctrl-C and
    SIGTERM end it with how to go on.
    """
    try:
        with one_sentence() as context:
            yield context
    except JobError as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        sys.exit('\nstopped; the same command goes on from the last checkpoints.')
