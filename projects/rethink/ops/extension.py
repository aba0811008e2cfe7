"""The module ``mmcv._ext``, and how it comes into mmcv's place."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings

import torch

from . import attention, boxes, carafe, deform, focal, info, masked, norm, roi
from .errors import HOW_TO_COMPILE

EXT = 'mmcv._ext'
ROOMS = (attention, boxes, carafe, deform, focal, info, masked, norm, roi)
_FUNCTIONS = {name: getattr(room, name) for room in ROOMS for name in room.__all__}
OPS = tuple(sorted(_FUNCTIONS))
"""The functions of ``mmcv._ext`` that are provided."""


class _Ext(types.ModuleType):
    """``mmcv._ext``: has every name, because mmcv asks for all of them at import, but only some of them work."""

    def __getattr__(self, name: str):
        if name.startswith('_'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')

        def unprovided(*args, **kwargs):
            raise NotImplementedError(
                f"mmcv's op {name!r} is not among those that rethink.ops provides over torchvision; {HOW_TO_COMPILE}."
            )

        unprovided.__name__ = unprovided.__qualname__ = name
        return unprovided


class _Loader(importlib.abc.Loader):
    def create_module(self, spec):
        return _Ext(spec.name, "mmcv's ops over torchvision, by rethink.ops.")

    def exec_module(self, module):
        vars(module).update(_FUNCTIONS)


def provided() -> str:
    """Whose ops mmcv uses: ``'compiled'``, its own, or ``'torchvision'``, those of this package."""
    return install()


def install() -> str:
    """Make mmcv's ops usable: provide ``mmcv._ext`` when mmcv has no compiled one that loads.

    ``import rethink`` calls it; calling it again changes nothing. Call it before mmdet is imported: classic mmdet
    cannot be imported without ops at all, and OneDL's replaces each missing op by a function that raises (these are
    found and put right, but not in classes that were derived from such a stand-in).

    Returns:
        As :func:`provided`.

    Raises:
        ImportError: mmcv is not installed, or torchvision has no compiled ops for the installed torch.
    """
    if EXT in sys.modules:
        return 'torchvision' if isinstance(sys.modules[EXT], _Ext) else 'compiled'
    try:
        mmcv = importlib.import_module('mmcv')
    except ModuleNotFoundError as error:
        if error.name != 'mmcv':
            raise
        raise ImportError('rethink needs mmcv: `pip install -r requirements/runtime.txt` brings it.') from error
    broken = None
    try:
        importlib.import_module(EXT)
        return 'compiled'
    except ModuleNotFoundError as error:
        if error.name != EXT:
            raise
    except ImportError as error:
        broken = error
    _check_torchvision()
    if broken:
        reason = (str(broken).splitlines() or [type(broken).__name__])[0]
        warnings.warn(
            f"mmcv's compiled ops do not load beside torch {torch.__version__} ({reason}), so rethink.ops uses "
            'torchvision in their place; rebuild mmcv to have them (docs/ops.md).',
            stacklevel=2,
        )
    spec = importlib.machinery.ModuleSpec(EXT, _Loader(), origin=__package__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[EXT] = mmcv._ext = module
    _replace_stand_ins()
    return 'torchvision'


def _check_torchvision() -> None:
    try:
        import torchvision  # noqa: F401  registers its ops with torch

        missing = [op for op in ('nms', 'roi_align', 'deform_conv2d') if not hasattr(torch.ops.torchvision, op)]
        if not missing:
            return
        reason = f'no torchvision::{missing[0]}'
    except Exception as error:  # a torchvision of another torch fails in ways that changed from release to release
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ImportError(
        f'The installed torchvision has no compiled ops for torch {torch.__version__} ({reason}); install both '
        'together from PyPI with `pip install --force-reinstall torch torchvision`.'
    )


def _replace_stand_ins() -> None:
    """Put mmcv's ops where modules of OneDL's mmdet that were imported earlier have stand-ins that only raise."""
    mark = ' requires mmcv to be compiled'
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] not in ('mmdet', 'mmpretrain'):
            continue
        for attribute, value in list(vars(module).items()):
            function = value.__init__ if isinstance(value, type) else value
            constants = getattr(getattr(function, '__code__', None), 'co_consts', ())
            op = next((text.partition(mark)[0] for text in constants if isinstance(text, str) and mark in text), None)
            if op is None:
                continue
            for home in ('mmcv.ops', 'mmcv.ops.merge_cells'):
                found = getattr(importlib.import_module(home), op, None)
                if found is not None:
                    setattr(module, attribute, found)
                    break
