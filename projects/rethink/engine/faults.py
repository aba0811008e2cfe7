"""What the machine does to a run, as a sentence: a full disk, a folder that is gone, a worker that was killed."""

import errno
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..errors import describe, last_line, some_names

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ESTALE}
# An exception of a data worker reaches the run as text alone.
_ERRNO = re.compile(r'\[Errno (\d+)\] [^:\n]*(?:: \'([^\'\n]*)\')?')
_WORKER = re.compile(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+)|exited)')
_UNDECODABLE = re.compile(r'failed to load image: (.+)')
# What a lost process looks like to the others: gloo, NCCL, and the store in which they meet.
_LOST = (
    'Connection closed by peer',
    'Connection reset by peer',
    'Broken pipe',
    'Timed out waiting',
    'timed out waiting',
    'Socket Timeout',
    'Socket closed',
    'Application timeout',
    'gloo/transport',
    'gloo::',
    'NCCL error',
    'ncclRemoteError',
    'recvValue failed',
    'sendBytes failed',
    'wait timeout',
)


def errno_of(error: BaseException) -> tuple[int | None, str | None]:
    """Number and file of an error of the operating system, also one that a data worker has passed on."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno, None if error.filename is None else str(error.filename)
    found = _ERRNO.search(last_line(error)) if isinstance(error, OSError) else None
    return (int(found[1]), found[2]) if found else (None, None)


def of_the_disk(error: BaseException) -> bool:
    """Whether it is about writing: no space, or not allowed."""
    return errno_of(error)[0] in _FULL | _REFUSED


def lost_process(error: BaseException) -> bool:
    """Whether it is what remains to the others when a process of their group ends or stands still."""
    if not isinstance(error, RuntimeError):
        return False
    import torch

    distributed = tuple(
        getattr(torch.distributed, name)
        for name in ('DistBackendError', 'DistNetworkError', 'DistStoreError')
        if hasattr(torch.distributed, name)
    )
    if isinstance(error, distributed):
        return 'EADDRINUSE' not in str(error)
    return any(words in str(error) for words in _LOST)


def sentence(error: BaseException, cfg: Config | None = None) -> str | None:
    """What happened and what to do, without a full stop; None where it is no fault of the machine."""
    text = str(error)
    # PyTorch raises it wherever the main thread is, and what runs there may make another error of it.
    for one in _chain(error):
        if isinstance(one, RuntimeError) and (worker := _WORKER.search(str(one))):
            return _of_worker(f'a data worker (process {worker[1].strip()})', worker[2])
        if isinstance(one, ConnectionError | EOFError) and _handed_over(one):
            return _of_worker('a data worker', None)
    if isinstance(error, OSError):
        return _of_system(error, cfg)
    if 'EADDRINUSE' in text:
        port = os.environ.get('MASTER_PORT') or os.environ.get('PORT')
        return (
            f'the port {port}, on which the processes were to meet, is taken by another process; set PORT to a free '
            'one, or start dist_train.sh without it, which finds one'
        )
    if 'finished reduction in the prior iteration' in text:
        which = re.search(r'did not receive grad for rank \d+: ([\d ]+)', text)
        names = f' ({_parameters([int(one) for one in which[1].split()], cfg)})' if which else ''
        return (
            f'a step of several processes left parameters of the model without a gradient{names}; set '
            'find_unused_parameters=True, or freeze what the loss does not use'
        )
    if isinstance(error, MemoryError) or _of_the_gpu(error):
        where = 'the GPU has' if 'CUDA' in text else 'this machine has'
        return f'{where} no memory left ({describe(error).split(". ")[0]}); take a smaller batch or smaller images'
    if 'unable to mmap' in text and 'Cannot allocate memory' in text:
        return 'this machine has no memory left; take a smaller batch or smaller images'
    if isinstance(error, RuntimeError) and ('</torch_' in text or 'shared memory' in text):
        return (
            'no space is left in shared memory (/dev/shm), through which data workers hand over their batches; give '
            'the container more (--shm-size, --ipc=host), or set num_workers=0 in the data loaders'
        )
    if isinstance(error, AssertionError) and (image := _UNDECODABLE.search(last_line(error))):
        return (
            f'the image {image[1]} cannot be decoded, it may be half-written; replace it, or take it out of the list'
        )
    return None


def _parameters(numbers: list[int], cfg: Config | None) -> str:
    """Names of some of those parameters of a model that are trained, by which DDP counts."""
    from ..checks.init import without_values

    try:
        trained = [name for name, one in without_values(cfg).named_parameters() if one.requires_grad]
        return some_names(trained[number] for number in numbers)
    except Exception:  # no config, or the model has been changed since it was built
        return f'number {", ".join(map(str, numbers[:8]))} of those that are trained'


def _of_the_gpu(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    import torch

    return isinstance(error, torch.cuda.OutOfMemoryError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_system(error: OSError, cfg: Config | None) -> str:
    number, file = errno_of(error)
    work_dir = cfg and cfg.get('work_dir')
    name = file or (f'a file of the run, in {work_dir},' if work_dir else 'a file')
    why = os.strerror(number) if number is not None else last_line(error).rstrip('.') or describe(error)
    if number in _FULL:
        return f'{name} could not be written ({why}); make room there'
    if number in _REFUSED:
        return f'{name} may not be read or written ({why}); see to its permissions and how its disk is mounted'
    if number == errno.EPIPE:
        return (
            'what read the output of this command has ended (Broken pipe); let it read to the end, or write to a file'
        )
    if number == errno.EMFILE:
        return f'{name} could not be opened ({why}); allow more, with `ulimit -n`, or use fewer workers'
    if number in _GONE:
        if file and work_dir and Path(os.path.abspath(file)).is_relative_to(os.path.abspath(work_dir)):
            return f'the work directory {work_dir} was removed, or something else is in its place ({why}: {file})'
        return f'{name} is not there, or not what it was ({why}); put it back, or name another'
    return f'{name} cannot be read or written ({why})' if number is not None else why


def _handed_over(error: BaseException) -> bool:
    """Whether it was raised where the main process takes a batch from a worker, which ended meanwhile."""
    files = [frame.filename.replace(os.sep, '/') for frame in traceback.extract_tb(error.__traceback__)]
    return any('torch/utils/data/' in file for file in files) and any('/multiprocessing/' in file for file in files)


def _of_worker(what: str, how: str | None) -> str:
    how = (how or '').strip()
    if how in ('Killed', ''):
        return (
            f'{what} was killed, most likely by the system because memory ran out (`dmesg` would tell); set '
            'num_workers of the data loaders to less, or take smaller batches'
        )
    if how == 'Bus error':
        return (
            f'{what} was ended by a bus error, most likely because shared memory (/dev/shm) is full; give '
            'the container more (--shm-size, --ipc=host), or set num_workers=0 in the data loaders'
        )
    return f'{what} was ended by a signal ({how}); with num_workers=0 in the data loaders the cause would show here'
