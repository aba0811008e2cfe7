"""What ends a process from outside: Ctrl-C and its like, and the end of the process that it belongs to."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
# Seconds that a stopped process has to tidy up; after them it ends as it is, which loses nothing.
_TIDY = 30


class Signals:
    """The signal that stops this process.

    Attributes:
        received: its number; None before.
    """

    received: int | None = None
    _active: 'Signals | None' = None

    def code(self) -> int:
        """The exit code, as a shell gives it."""
        return 128 + (self.received or signal.SIGINT)


@contextlib.contextmanager
def interruptible() -> Iterator[Signals]:
    """Within, SIGTERM and SIGHUP do what Ctrl-C does: ``KeyboardInterrupt``. A second signal ends the process at once.

    So does a first one that is not obeyed within 30 s, because the process waits within a library (for another
    process, say). What is ignored when the process starts (``nohup``) stays ignored.
    """
    if Signals._active is not None or threading.current_thread() is not threading.main_thread():
        yield Signals._active or Signals()
        return
    state = Signals._active = Signals()
    owner = os.getpid()

    def interrupt(number, _):
        if os.getpid() != owner or state.received is not None:
            os._exit(128 + number)
        state.received = number
        raise KeyboardInterrupt

    wakes, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {one: signal.signal(one, interrupt) for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN}
    fd_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    # Python runs a handler between two lines of the main thread; the numbers come here whatever that one does.
    over = threading.Event()
    threading.Thread(target=_insist, args=[wakes, tuple(before), over], daemon=True).start()
    try:
        yield state
    finally:
        over.set()
        signal.set_wakeup_fd(fd_before)
        os.close(wake)
        for one, handler in before.items():
            signal.signal(one, handler)
        Signals._active = None


def stopped_by_a_signal() -> bool:
    """Whether a ``KeyboardInterrupt`` within :func:`interruptible` is one, and not raised by somebody's code."""
    return Signals._active is None or Signals._active.received is not None


def _insist(wakes: int, numbers: tuple[int, ...], over: threading.Event) -> None:
    received = []
    while read := os.read(wakes, 1):
        if read[0] not in numbers:
            continue
        received.append(read[0])
        # The second is for the handler first, where the main thread is free to run it.
        seconds = _TIDY if len(received) == 1 else 0.5
        threading.Thread(target=_exit_after, args=[seconds, 128 + read[0], over], daemon=True).start()
    os.close(wakes)


def _exit_after(seconds: float, code: int, over: threading.Event) -> None:
    if not over.wait(seconds):
        os._exit(code)


def _in_a_fork() -> None:
    # Its signals are not the parent's.
    with contextlib.suppress(ValueError):
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_in_a_fork)


# --- the end of another process --------------------------------------------------------------------------------------


def end_with_parent() -> None:
    """For what ``multiprocessing`` started (fork, spawn or forkserver): end when the process that did has ended.

    Otherwise a data worker whose parent was killed waits for ever for someone to take its batches. Ctrl-C and the end
    of a terminal reach all processes, and are left to the parent.
    """
    for number in (signal.SIGINT, getattr(signal, 'SIGHUP', signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)
    parent, started_by = multiprocessing.parent_process(), os.getppid()

    def gone() -> bool:
        # The pipe that tells is also held by what the parent forks later, so look at who owns this process as well.
        parent.join(1)
        return not parent.is_alive() or os.getppid() != started_by

    def hook(kind, error, trace) -> None:
        # A thread of multiprocessing may lose the parent's connection first, and show its traceback.
        if issubclass(kind, ConnectionError | EOFError) and gone():
            os._exit(1)
        sys.__excepthook__(kind, error, trace)

    if parent is not None:
        sys.excepthook = hook
        _end_when(gone, lambda: None)


def end_with_launcher() -> None:
    """For a process that ``torchrun`` started: end, with a sentence, when that has been killed.

    A launcher that ends in any other way stops its processes.
    """
    launcher = os.getppid()

    def gone() -> bool:
        time.sleep(1)
        return os.getppid() != launcher

    def tell() -> None:
        if os.environ.get('LOCAL_RANK', '0') == '0':
            print(
                f'error: the launcher (process {launcher}) is gone, so its processes end; start it again, with '
                '--resume to go on from the last checkpoint.',
                file=sys.stderr,
                flush=True,
            )

    _end_when(gone, tell)


def _end_when(gone: Callable[[], bool], tell: Callable[[], None]) -> None:
    def wait() -> None:
        while not gone():
            pass
        with contextlib.suppress(OSError):
            tell()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class EndWithParent:
    """A ``worker_init_fn`` of a data loader: :func:`end_with_parent`, then the one that the loader had."""

    def __init__(self, then: Callable[[int], None] | None) -> None:
        self.then = then

    def __call__(self, worker_id: int) -> None:
        end_with_parent()
        if self.then is not None:
            self.then(worker_id)
