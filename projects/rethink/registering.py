"""When what configs name is registered (:mod:`rethink.registrations`), and in whose registries it is looked for."""

import datetime
import functools
import importlib
import sys

from .on_import import staying


def now() -> None:
    """Register it; once, however often it is called."""
    if 'rethink.registrations' not in sys.modules:
        with staying():
            importlib.import_module('rethink.registrations')


def when_asked() -> None:
    """Register it before a registry of MMEngine's is first asked for a class."""
    from mmengine.registry import Registry

    stock = Registry.get

    @functools.wraps(stock)
    def get(self, key):
        now()
        Registry.get = stock
        return stock(self, key)

    Registry.get = get


def use_scope(scope: str) -> None:
    """Look for classes in this scope's registries from now on, such as ``'mmdet'``; as MMEngine's
    ``init_default_scope``, which warns where a process reads configs of two scopes in turn, as a study does.
    """
    from mmengine.registry import DefaultScope

    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != scope:
        # A name that was there before would not become the current one.
        DefaultScope.get_instance(f'{scope}-{datetime.datetime.now()}', scope_name=scope)
