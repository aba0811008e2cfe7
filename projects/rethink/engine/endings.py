"""How a tool ends: with one sentence on stderr where something is wrong or stops it, and with its processes.

Exit codes: 0 done, 2 wrong input, 3 a fault amid a run, 128 + N stopped by signal N (130 is Ctrl-C). 1 is of the
tools: done, and what was looked at is not as it should be (docs/tools.md).
"""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from mmengine.config import Config

from ..config_tree import remote_checkpoints
from ..errors import ConfigError, Diverged, JobError, describe, raised_at
from ..files import write_atomically
from ..reuse import tool
from ..stopping import end_with_launcher, interruptible
from . import faults
from .processes import end_processes, is_in_a_group, leave

WRONG_INPUT, FAULT = 2, 3
# Launchers kill the others as soon as one process ends, so that the first is let speak: seconds in which the others
# find the same wrong input, and in which they meet the same fault.
_OTHERS_READ, _OTHERS_RUN = 30, 5
# Seconds in which a launcher notices the process that died, and says so.
_LAUNCHER = 20


def where(error: BaseException, beside: Path | None = None) -> str:
    """'file:line' of the innermost frame of ``error``, or of the innermost one that is a config."""
    if beside is None and raised_at(error):
        return raised_at(error)
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        if beside is None or (frame.name == '<module>' and Path(frame.filename).suffix == '.py' and _is_config(frame)):
            return f'{frame.filename}:{frame.lineno}'
    return str(beside)


def _is_config(frame) -> bool:
    # MMEngine compiles a config under its own path; modules of packages run their body under that name as well.
    return '/site-packages/' not in frame.filename and not frame.filename.startswith('<')


def cannot_be_built(cfg: Config, error: Exception) -> str:
    from . import building

    part, why = building.reason(cfg, error)
    return (
        f'{part}{" of " * bool(part)}{cfg.filename} with its overrides cannot be built: {why} (raised at '
        f'{where(error)}; RETHINK_TRACEBACK=1 shows the way there).'
    )


@contextlib.contextmanager
def one_sentence(go_on: str = '') -> Iterator[SimpleNamespace]:
    """End the process with one sentence on stderr, where the input is wrong, the machine fails or a signal stops it.

    Wrong input is a :class:`ConfigError`, a part of the config that cannot be built or used, or a download that fails;
    of several processes the first on each machine speaks. A fault is what :mod:`rethink.engine.faults` knows, a lost
    process of the group, and any exception amid a run of MMEngine's Runner, whose traceback goes into the work
    directory. Every other exception of a tool without a config passes. ``RETHINK_TRACEBACK=1`` also shows the
    traceback of all of these. SIGTERM and SIGHUP are Ctrl-C.

    The body leaves its config on the context, as ``context.cfg``. Where all went well, one of several processes closes
    its group and ends here, too.

    Args:
        go_on: how to go on after a fault or a stop, as in ``'the same command goes on from here'``.
    """
    context = SimpleNamespace(cfg=None)
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        end_with_launcher()
    with interruptible() as signals:
        try:
            try:
                yield context
                if is_in_a_group():
                    end_processes()
                    leave()
            except Exception as error:
                _quiet_about_children()
                if signals.received is not None:  # and this came after it
                    raise KeyboardInterrupt from None
                _end(error, context.cfg, go_on)
        except KeyboardInterrupt:
            _quiet_about_children()
            # torchrun stops its processes one by one, and speaks for them (tools/launcher.sh).
            if 'TORCHELASTIC_RUN_ID' not in os.environ and _first_here():
                _say('\nstopped' + (f'; {go_on}.' if go_on else '.'))
            os._exit(signals.code())


def _quiet_about_children() -> None:
    # PyTorch raises the end of a data worker wherever the main thread is; from here on that is nothing new.
    if threading.current_thread() is threading.main_thread() and hasattr(signal, 'SIGCHLD'):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _first_here() -> bool:
    return os.environ.get('LOCAL_RANK', '0') == '0'


def _say(message: str) -> None:
    # Whoever read it may be gone.
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()


def _end(error: Exception, cfg: Config | None, go_on: str) -> None:
    """Say what ``error`` is and exit; or raise it again, where it is nothing that a sentence is known for."""
    if os.environ.get('RETHINK_TRACEBACK'):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    running = any(
        frame.filename.endswith('mmengine/runner/runner.py') and frame.name in ('train', 'val', 'test')
        for frame in frames
    )
    building = any(frame.name == 'build_from_cfg' for frame in frames) and not any(
        frame.name in ('run_iter', '_try_get_data', '_next_data') for frame in frames
    )
    more = f'; {go_on}.' if go_on else '.'
    code, message = WRONG_INPUT, str(error)
    if isinstance(error, ConfigError):
        pass
    elif isinstance(error, JobError):
        raise error
    elif isinstance(error, Diverged):  # and resumed as it is it would diverge again
        code = FAULT
    elif isinstance(error, urllib.error.URLError):
        remote = ', '.join(remote_checkpoints(cfg or {})) or 'a file'
        message = (
            f'{remote} could not be downloaded ({describe(error)}); fetch it where there is a network, with '
            f'{tool("misc/fetch_weights.py")}, or name a local file in its place.'
        )
    elif faults.lost_process(error):
        _await_the_launcher()
        from . import watch

        code, message = FAULT, f'{watch.missing() or "another process of the group is gone"}, so this one ends{more}'
    elif cfg is not None and building and not faults.of_the_disk(error):
        # Data sets, optimiser and schedule are built when training starts.
        message = cannot_be_built(cfg, error)
    elif (fault := faults.sentence(error, cfg)) is not None:
        code, message = FAULT, fault + more
        # A signal to all processes of a group ends the workers a moment before it comes here.
        time.sleep(1)
    elif running:
        code, message = FAULT, f'{describe(error)} at {where(error)}; {_keep_traceback(error, cfg)}{more}'
    elif cfg is not None:
        message = (
            f'{cfg.filename} with its overrides cannot be used: {describe(error)} (raised at {where(error)}; '
            'RETHINK_TRACEBACK=1 shows the way there).'
        )
    else:
        raise error
    if not _first_here():
        # If it is still alive after that, only this process met the error.
        time.sleep(_OTHERS_RUN if code == FAULT else _OTHERS_READ)
    _say(f'error: {message}')
    # Not sys.exit: threads of an open process group may keep a process from ending.
    os._exit(code)


def _await_the_launcher() -> None:
    if 'RANK' in os.environ or 'SLURM_PROCID' in os.environ or 'OMPI_COMM_WORLD_RANK' in os.environ:
        time.sleep(_LAUNCHER)


def _keep_traceback(error: Exception, cfg: Config | None) -> str:
    """Write it where the run's logs are; how to see it."""
    rank = os.environ.get('RANK', '0')
    path = Path((cfg or {}).get('work_dir') or '.') / f'traceback{"" if rank == "0" else f"_{rank}"}.txt'
    try:
        if path.parent.is_dir():
            write_atomically(path, ''.join(traceback.format_exception(error)).encode())
            return f'the traceback is in {path}'
    except OSError:
        pass
    return 'RETHINK_TRACEBACK=1 shows the traceback'


@contextlib.contextmanager
def several_trainings() -> Iterator[SimpleNamespace]:
    """:func:`one_sentence` around a tool that runs jobs (:mod:`rethink.studies.jobs`), and stops with them.

    A job that fails ends the process with that sentence and exit code 1.
    """
    try:
        with one_sentence('the same command goes on from the last checkpoints') as context:
            yield context
    except JobError as error:
        sys.exit(f'error: {error}')
