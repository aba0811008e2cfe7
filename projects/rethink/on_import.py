"""What is to be done to somebody else's module, when it is imported and not before."""

import contextlib
import gc
import pkgutil
import sys
from collections.abc import Iterator
from importlib.abc import MetaPathFinder

_WAITING: dict[str, list[str]] = {}


def when_imported(name: str, call: str) -> None:
    """Call a function without arguments as soon as a module is imported: now, where it is already.

    Whoever imports the module gets it after the call, and an exception of the call in its place.

    Args:
        name: dotted name of the module.
        call: the function, as in ``'rethink.ops:install'``; what has it is imported then and not before.
    """
    if name in sys.modules:
        pkgutil.resolve_name(call)()
    else:
        _WAITING.setdefault(name, []).append(call)


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """Garbage is not looked for while something is imported, and later not in what was.

    PyTorch and MMDetection are a million objects that stay. Python looks through them several times while it imports
    them, at each data set of MMEngine's and when the process ends: a third of the time that the checker takes. Where a
    data worker is forked, its memory of them remains shared as well.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


class _Finder(MetaPathFinder):
    """Asked before the others: has one of them find the module, and the calls follow when it has been executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in _WAITING:
            return None
        finders = (one for one in sys.meta_path if one is not self and hasattr(one, 'find_spec'))
        spec = next(filter(None, (one.find_spec(name, path, target) for one in finders)), None)
        # A namespace package has no loader, and nothing to execute.
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                # The others are small, and may come when there is a model already, which is not to stay.
                with staying() if name == 'torch' else contextlib.nullcontext():
                    execute(module)
                for call in _WAITING.get(name, ()):
                    pkgutil.resolve_name(call)()
                # Only now: where one fails the import does, and the next one calls them again.
                _WAITING.pop(name, None)

            spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
