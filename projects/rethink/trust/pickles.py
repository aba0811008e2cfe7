"""The guard before PyTorch's reader of pickles (:mod:`rethink.trust`)."""

import contextlib
import functools
import os
import pickle
import re
import warnings

import numpy as np

from . import VARIABLE, refused, soundness, trusted


def _statistic(owner: type, name: str):
    """What a checkpoint asks of ``getattr``: a statistic of ``HistoryBuffer``, and of nothing else."""
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'A checkpoint may not ask getattr for {name!r} of {owner!r}.')
    return getattr(owner, name)


def numpy_functions() -> list[tuple]:
    """The functions that rebuild arrays and numbers, each with a name under which files of some NumPy have it."""
    core = getattr(np, '_core', None) or np.core
    functions = (core.multiarray._reconstruct, core.multiarray.scalar)
    # numpy 2 moved them: files of either version are read under either.
    return [(one, f'numpy.{place}.multiarray.{one.__name__}') for one in functions for place in ('_core', 'core')]


_SCALARS = ('bool', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'int64', 'uint32', 'uint64')
_SCALARS += ('float16', 'float32', 'float64')


@contextlib.contextmanager
def _only_logs():
    """Let PyTorch's safe loader read what MMEngine's own checkpoints hold beside tensors: the logged values.

    These are HistoryBuffers over NumPy arrays. mmengine 0.10.7 does not name them to PyTorch and cannot resume;
    OneDL's names ``getattr`` as a whole. What others have put on PyTorch's list stays on it.
    """
    import torch
    from mmengine.logging import HistoryBuffer

    scalars = [type(np.dtype(name)) for name in _SCALARS]
    names = [HistoryBuffer, np.ndarray, np.dtype, *scalars, *numpy_functions(), (_statistic, 'builtins.getattr')]
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*(one for one in before if one is not getattr), *names])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


_FLAG = f'--trust {{}} (or {VARIABLE}={{}} in the environment)'
# What PyTorch's safe loader says of what it does not do.
_WANTS = (
    (r'GLOBAL (\S+) was not an allowed global', 'asks for {}'),
    (r'unsupported GLOBAL (\S+) whose module', 'asks for {}'),
    (r'may not ask getattr for (.+?)\.\s*$', 'asks getattr for {}'),
    (r'reduce for unrecognized function (.+?)\s*$', 'calls {}'),
    (r'Can only (?:create new object|build) .* but got (.+?)\s*$', 'builds {}'),
    (r'unsupported persistent id encountered()', 'refers to something outside of it'),
    (r'TorchScript archives()', 'is a TorchScript archive, a program'),
    (r'legacy \.tar()', 'is in the tar format of PyTorch before 0.1.10, which PyTorch cannot read safely'),
)


def _wants(message: str) -> str | None:
    for pattern, words in _WANTS:
        found = re.search(pattern, message, re.S)
        if found:
            return words.format(found[1])
    return None


def _texts(content) -> list[tuple[str, str]]:
    """The texts in a checkpoint that MMEngine's runner or inferencer executes as a config, with their places."""
    if not isinstance(content, dict):
        return []
    meta, hub = content.get('meta'), content.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    places = [('meta', meta, 'config'), ('meta', meta, 'cfg'), ('message_hub.runtime_info', info, 'cfg')]
    found = [(f'{place}.{key}', owner.get(key)) for place, owner, key in places if isinstance(owner, dict)]
    return [(place, text) for place, text in found if isinstance(text, str)]


def guard_torch() -> None:
    """Guard ``torch.load``, once."""
    import torch

    if hasattr(torch.load, 'guarded'):
        return
    # The first whose safe loader can be told of single functions under the names that a file has for them.
    if torch.__version__ < (2, 6):
        warnings.warn(
            f'PyTorch {torch.__version__} cannot read checkpoints of MMEngine without running what they hold, so that '
            'rethink does not refuse those that run code; PyTorch 2.6 or newer can.',
            stacklevel=2,
        )
        return
    original = torch.load

    @functools.wraps(original)
    def load(f, map_location=None, pickle_module=None, *, weights_only=None, **options):
        if trusted(f):
            return original(f, map_location, pickle_module, weights_only=False, **options)
        if isinstance(f, str | os.PathLike) and os.path.exists(f):
            # Whoever maps a file reads what they need of it, and asks for the checksums themselves.
            soundness.check_file(f, checksums=not options.get('mmap'))
        try:
            with _only_logs():
                content = original(f, map_location, weights_only=True, **options)
        except (pickle.UnpicklingError, RuntimeError) as error:
            wants = _wants(str(error))
            if wants is None:
                raise
            raise refused(f, wants, _FLAG) from None
        from .dumped import what_it_would_run

        for place, text in _texts(content):
            runs = what_it_would_run(text)
            if runs:
                raise refused(f, f'has a config in {place} that is more than values ({runs})', _FLAG)
        return content

    load.guarded = original
    torch.load = torch.serialization.load = load
