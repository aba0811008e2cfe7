"""What is pre-training worth to object detection? Modules of the three studies, for MMDetection.

A config imports the package with ``custom_imports = dict(imports=['rethink'])``. From then on mmcv's ops work without
a compiler (:mod:`rethink.ops`), what the configs name is registered (:mod:`rethink.registrations`), no file of weights
runs code when it is read (:mod:`rethink.trust`), no image stops a run without its name being told
(:mod:`rethink.trust.images`), and a detector that finds nothing has an AP of 0
(:mod:`rethink.evaluation.nothing_found`).

Importing it takes no time: each package that this is about is seen to when it is imported (:mod:`rethink.on_import`).
What is registered is imported when a registry is first asked, or at once where MMEngine's Runner is there already, as
it is in the tools of MMDetection.
"""

import importlib
import sys

from . import registering, trust
from .on_import import when_imported
from .reuse import config_path
from .version import __version__

__all__ = ['__version__', 'config_path']


when_imported('mmengine', 'rethink.reuse:install')
when_imported('yapf.yapflib.yapf_api', 'rethink.configs.formatting:install')
when_imported('mmcv', 'rethink.ops:install')
when_imported('timm.models._builder', 'rethink.trust.timm_weights:install')
when_imported('mmdet.datasets.api_wrappers', 'rethink.evaluation.nothing_found:install')
trust.install()
if 'mmengine.runner' in sys.modules:
    registering.now()
else:
    when_imported('mmengine', 'rethink.registering:when_asked')


def __getattr__(name: str):
    """A module of the package that nobody has imported yet, as in ``rethink.ops.provided()``."""
    try:
        return importlib.import_module(f'{__name__}.{name}')
    except ModuleNotFoundError as error:
        if error.name != f'{__name__}.{name}':
            raise
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}') from None
