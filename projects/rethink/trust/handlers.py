"""What MMEngine reads pickles and YAML with, without code (:mod:`rethink.trust`)."""

import pickle
import re

import yaml
from mmengine.fileio.handlers import PickleHandler, YamlHandler, register_handler

from . import refused, trusted
from .pickles import numpy_functions

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
        import torch

        for function, known in numpy_functions():
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
                raise refused(file, f'asks for {error}') from None
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
            raise refused(file, f'has the tag !!{found[1]} in line {error.problem_mark.line + 1}') from None


def guard_mmengine() -> None:
    """Put the safe handlers in place of MMEngine's."""
    register_handler(['pkl', 'pickle'])(SafePickleHandler)
    register_handler(['yml', 'yaml'])(SafeYamlHandler)
