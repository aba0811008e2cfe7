"""Files that a kill does not leave half-written, and folders that one process writes into at a time."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from .errors import ConfigError, say

# What a file gets: its bytes, or a function that writes them into an open file.
Content = bytes | Callable[[BinaryIO], object]
_PART = re.compile(r'\..+\.[0-9a-f]{8}\.part')
# Seconds that a lock is waited for whose holder is dead: its data workers, which share it, end within a second.
_LET_GO = 3


# --- writing ---------------------------------------------------------------------------------------------------------


def write_atomically(path: str | os.PathLike, content: Content) -> None:
    """Write a file so that a kill leaves either the old one or the new one: beside it, flushed, then renamed.

    Each writer writes under a name of its own, so that of two at a time one is last and the file is whole.

    Raises:
        OSError: the old file stays, and nothing beside it; ``filename`` is ``path``.
    """
    write_together({path: content})


def write_together(files: Mapping[str | os.PathLike, Content]) -> None:
    """Write files that belong together: a kill leaves the old ones, the new ones or too few, never some of both.

    All are on the disk under other names before the first old one goes.

    Raises:
        OSError: as :func:`write_atomically`.
    """
    paths = [Path(path) for path in files]
    with contextlib.ExitStack() as parts:
        halves = [
            parts.enter_context(_part(path, content)) for path, content in zip(paths, files.values(), strict=True)
        ]
        for path in paths[1:]:
            path.unlink(missing_ok=True)
        for half, path in zip(halves, paths, strict=True):
            os.replace(half, path)


@contextlib.contextmanager
def _part(path: Path, content: Content) -> Iterator[Path]:
    """The content beside its place, flushed, held while it is there; gone at the end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts_of_the_dead(path.parent)
        half = path.with_name(f'.{path.name}.{secrets.token_hex(4)}.part')
        with open(half, 'xb') as file:
            try:
                _try_lock(file)
                content(file) if callable(content) else file.write(content)
                file.flush()
                os.fsync(file.fileno())
                yield half
            finally:
                half.unlink(missing_ok=True)
    except OSError as error:
        # write(2) knows no name.
        if error.filename is None:
            error.filename = str(path)
        raise


def _remove_parts_of_the_dead(folder: Path) -> None:
    """What a writer holds is in use; what nobody holds was left by a kill."""
    for path in folder.glob('.*.part'):
        if not _PART.fullmatch(path.name):
            continue
        # Gone meanwhile, or another user's: not ours to clean up.
        with contextlib.suppress(OSError), open(path, 'r+b') as file:
            # Just made, and not yet held; the clock of a file server may be another.
            young = abs(time.time() - path.stat().st_mtime) < 60 and path.stat().st_size == 0
            if not young and _try_lock(file):
                path.unlink(missing_ok=True)


def sha256(path: str | os.PathLike) -> str:
    """The digest of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- holding a folder ------------------------------------------------------------------------------------------------


def _try_lock(file) -> bool | None:
    """Lock an open file until it is closed or the process dies; False: another has it, None: there are no locks here.

    Linux hands flock on NFS to the server, which lets go of it when a client's process dies or its lease ends; some
    file systems have none (ENOLCK, ENOSYS, EOPNOTSUPP).
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextlib.contextmanager
def exclusively(folder: str | os.PathLike, wait: bool = False) -> Iterator[int]:
    """Hold ``folder`` for this process and the ones it starts with the yielded file descriptor.

    ``<folder>/.lock`` says who has it: host, process, since when, command; it is there as long. The operating system
    lets go of it when the last of these processes ends, however it ends. Where the file system has no locks, that is
    said and nothing is held.

    Args:
        wait: for another process that has it.

    Raises:
        ConfigError: another process has it, or the folder cannot be written to.
    """
    folder = Path(folder)
    lock, end, said = _held(folder), time.monotonic() + _LET_GO, False
    while isinstance(lock, dict):
        if wait and not said:
            say(f'{folder} is in use by {_words(lock)}; waiting for it.')
            said = True
        if not wait and (_alive(lock) or time.monotonic() > end):
            raise ConfigError(f'{folder} is in use by {_words(lock)}; wait for it or stop it.')
        time.sleep(0.1)
        lock = _held(folder)
    with lock:
        try:
            yield lock.fileno()
        finally:
            # While it is held, so that no other can hold it; whoever has opened it looks whether it is still there.
            with contextlib.suppress(OSError):
                os.unlink(lock.name)


def in_use(folder: str | os.PathLike) -> bool:
    """Whether a process holds a folder, by :func:`exclusively`."""
    try:
        with open(Path(folder) / '.lock', 'r+') as lock:
            return _try_lock(lock) is False
    except OSError:
        return False


def _held(folder: Path) -> TextIO | dict:
    """The lock of a folder, with our name in it; or what another wrote into it, who holds it."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = open(folder / '.lock', 'a+')  # noqa: SIM115  (returned)
        except OSError as error:
            raise ConfigError(
                f'{folder} cannot be written to ({error.strerror}); name another folder, or make this one writable.'
            ) from None
        held = _try_lock(lock)
        if held is False:
            with lock:
                return _holder(lock)
        if held is None:
            say(f'{folder} is on a file system without locks, so a second run in it would not be noticed.')
        # Its holder may have removed it between our two calls.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(lock.name)):
                break
        lock.close()
    lock.truncate(0)
    me = dict(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=time.strftime('%Y-%m-%d %H:%M:%S'),
        command=shlex.join(sys.argv),
    )
    with contextlib.suppress(OSError):  # a full disk; what the run itself writes will say so
        lock.write(json.dumps(me) + '\n')
        lock.flush()
    return lock


def _holder(lock) -> dict:
    try:
        lock.seek(0)
        found = json.loads(lock.read())
        return found if isinstance(found, dict) else {}
    except ValueError:  # of an earlier version, or being written
        return {}


def _alive(holder: dict) -> bool:
    """Whether the holder is there; on another host, that is taken for granted."""
    if holder.get('host') != socket.gethostname() or not isinstance(holder.get('pid'), int):
        return True
    try:
        os.kill(holder['pid'], 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _words(holder: dict) -> str:
    if not holder:
        return 'another run'
    who = f'process {holder.get("pid")} on host {holder.get("host")}'
    since = f'since {holder.get("since")}: {str(holder.get("command"))[:200]}'
    return f'{who} ({since})' if _alive(holder) else f'what {who} ({since}) has left behind'
