"""When what configs name is registered (:mod:`rethink.registrations`)."""

import functools
import importlib


def now() -> None:
    """Register it; once, however often it is called."""
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
