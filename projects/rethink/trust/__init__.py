"""No file that is read runs code: what goes in place of PyTorch's, NumPy's and MMEngine's readers of pickles.

A pickle is a program, and ``torch.save`` writes pickles. :func:`install`, which importing rethink calls, puts guards
before every reader through which a file of weights, a checkpoint or data reaches MMEngine, MMDetection, MMPretrain and
timm, whoever calls it and with whatever arguments:

=====================================  ================================================================================
``torch.load``                         only tensors, plain containers and MMEngine's logs, whatever ``weights_only`` is
                                       asked for; no text that MMEngine would execute as a config
``mmengine.load`` of ``.pkl``          only tensors, arrays and plain containers
``mmengine.load`` of ``.yml``          only YAML's own types, and tuples, which MMEngine's dumps have
``numpy.load``                         no arrays of objects, also with ``allow_pickle=True``
=====================================  ================================================================================

What is more is refused with the name of what it would call (:class:`rethink.errors.NotOnlyWeights`). A file that the
user trusts is named in ``--trust FILE`` or in the environment variable ``RETHINK_TRUST``, where folders may stand as
well; it is then read as without rethink.
"""

import argparse
import contextlib
import functools
import io
import os
import pickle
import re
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from mmengine.fileio.handlers import PickleHandler, YamlHandler, register_handler
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from ..errors import NotOnlyWeights
from . import soundness
from .dumped import what_it_would_run

VARIABLE = 'RETHINK_TRUST'
# The first PyTorch whose safe loader can be told of single functions under the names that a file has for them.
_SAFE_LOADER = digit_version(torch.__version__) >= digit_version('2.6')


class TrustAction(argparse.Action):
    """``--trust FILE``: add the file to ``RETHINK_TRUST``, where the processes that are started find it too."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if not os.path.exists(values):
            parser.error(f'--trust {values}: there is no such file')
        before = filter(None, [os.environ.get(VARIABLE)])
        os.environ[VARIABLE] = os.pathsep.join([*before, os.path.abspath(values)])


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Give a tool that reads files of weights its ``--trust``."""
    parser.add_argument(
        '--trust',
        action=TrustAction,
        default=argparse.SUPPRESS,
        metavar='FILE',
        help='read this file, or all below this folder, even if that runs code within (docs/trust.md)',
    )


def _named() -> list[Path]:
    return [Path(path).resolve() for path in os.environ.get(VARIABLE, '').split(os.pathsep) if path]


def trusted(file) -> bool:
    """Whether the user has named a file, or a folder above it, in ``--trust`` or ``RETHINK_TRUST``.

    Args:
        file: a path, or an open file; one without a name, such as the bytes that a storage backend has read, is
            compared with the content of the files that are named.
    """
    named = _named()
    if not named:
        return False
    path = _path(file)
    if path is not None:
        path = Path(path).resolve()
        return any(path == one or one in path.parents for one in named)
    if not isinstance(file, io.BytesIO):
        return False
    content = file.getbuffer()
    files = [one for one in named if one.is_file() and one.stat().st_size == content.nbytes]
    return any(one.read_bytes() == content for one in files)


def _path(file) -> str | None:
    """The path of a file that is named or open; None where it has none."""
    if isinstance(file, str | os.PathLike):
        return os.path.expanduser(os.fspath(file))
    name = getattr(file, 'name', None)
    return name if isinstance(name, str) and os.path.exists(name) else None


def _refused(file, wants: str, how: str = VARIABLE + '={} in the environment') -> NotOnlyWeights:
    path = _path(file)
    return NotOnlyWeights(
        f'{path or "a file that was read into memory"} holds more than values: it {wants}, and reading it could run '
        f'any code; if you trust where it comes from, allow that with {how.replace("{}", path or "FILE")}.'
    )


# --- torch.load ------------------------------------------------------------------------------------------------------


def _statistic(owner: type, name: str):
    """What a checkpoint asks of ``getattr``: a statistic of ``HistoryBuffer``, and of nothing else."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'A checkpoint may not ask getattr for {name!r} of {owner!r}.')
    return getattr(owner, name)


def _numpy_functions() -> list[tuple]:
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
    scalars = [type(np.dtype(name)) for name in _SCALARS]
    names = [HistoryBuffer, np.ndarray, np.dtype, *scalars, *_numpy_functions(), (_statistic, 'builtins.getattr')]
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


def _guard_torch() -> None:
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
            raise _refused(f, wants, _FLAG) from None
        for place, text in _texts(content):
            runs = what_it_would_run(text)
            if runs:
                raise _refused(f, f'has a config in {place} that is more than values ({runs})', _FLAG)
        return content

    load.guarded = original
    torch.load = torch.serialization.load = load


# --- pickles and YAML that MMEngine reads ----------------------------------------------------------------------------

_CONTAINERS = {
    'builtins': {'set', 'frozenset', 'complex', 'bytearray', 'slice', 'range'},
    'collections': {'OrderedDict', 'defaultdict', 'deque'},
    'numpy': {'ndarray', 'dtype'},
    'numpy.core.numeric': {'_frombuffer'},
    'numpy._core.numeric': {'_frombuffer'},
    # Storages are bytes within, which `torch.load` reads, guarded as above.
    'torch.storage': {'_load_from_bytes'},
    'torch._utils': {'_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'},
    'torch': {'Size', 'device'},
}
# What a default dict makes of nothing.
_FACTORIES = {'dict', 'list', 'int', 'float', 'str', 'tuple', 'bool', 'set'}


class _Unpickler(pickle.Unpickler):
    """Tensors, arrays and plain containers; see "Restricting Globals" in Python's documentation of pickle."""

    def find_class(self, module: str, name: str):
        for function, known in _numpy_functions():
            if f'{module}.{name}' == known:
                return function
        module = 'builtins' if module == '__builtin__' else module
        if name in _CONTAINERS.get(module, ()) or (module == 'builtins' and name in _FACTORIES):
            return super().find_class(module, name)
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == 'numpy.dtypes' and name.endswith('DType'):
            return super().find_class(module, name)
        if module == '_codecs' and name == 'encode':  # how Python 2 and protocol 2 write bytes
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'{module}.{name}')


class SafePickleHandler(PickleHandler):
    """MMEngine's pickles, such as proposals or the predictions of ``test.py --out``, without code."""

    def load_from_fileobj(self, file, **kwargs):
        if trusted(file):
            return super().load_from_fileobj(file, **kwargs)
        try:
            return _Unpickler(file, **kwargs).load()
        except pickle.UnpicklingError as error:
            if re.fullmatch(r'[\w.<>]+', str(error)) and '.' in str(error):
                raise _refused(file, f'asks for {error}') from None
            raise


class _YamlLoader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """YAML's own types and tuples."""


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> tuple:
    return tuple(loader.construct_sequence(node, deep=True))


_YamlLoader.add_constructor('tag:yaml.org,2002:python/tuple', _tuple)


class SafeYamlHandler(YamlHandler):
    """MMEngine's YAML without the tags that make objects or call functions."""

    def load_from_fileobj(self, file, **kwargs):
        if trusted(file):
            return super().load_from_fileobj(file, **kwargs)
        try:
            return yaml.load(file, Loader=_YamlLoader)
        except yaml.constructor.ConstructorError as error:
            found = re.search(r"the tag '(?:tag:yaml\.org,2002:)?([^']+)'", str(error))
            if found is None:
                raise
            raise _refused(file, f'has the tag !!{found[1]} in line {error.problem_mark.line + 1}') from None


# --- NumPy -----------------------------------------------------------------------------------------------------------


def _guard_numpy() -> None:
    original = np.load

    @functools.wraps(original)
    def load(file, mmap_mode=None, allow_pickle=False, **options):
        if not allow_pickle or trusted(file):
            return original(file, mmap_mode, allow_pickle, **options)
        try:
            # An archive looks at each of its arrays only when it is asked for it, and refuses then.
            return original(file, mmap_mode, False, **options)
        except ValueError as error:
            if 'allow_pickle' not in str(error):
                raise
            raise _refused(file, 'is an array of objects, or a pickle') from None

    load.guarded = original
    np.load = load


# --- all of them -----------------------------------------------------------------------------------------------------


def install() -> None:
    """Put the guards in place, once."""
    if hasattr(np.load, 'guarded'):
        return
    register_handler(['pkl', 'pickle'])(SafePickleHandler)
    register_handler(['yml', 'yaml'])(SafeYamlHandler)
    _guard_numpy()
    if _SAFE_LOADER:
        _guard_torch()
    else:
        warnings.warn(
            f'PyTorch {torch.__version__} cannot read checkpoints of MMEngine without running what they hold, so that '
            'rethink does not refuse those that run code; PyTorch 2.6 or newer can.',
            stacklevel=2,
        )
