"""MMEngine's Runner, made fast against what happens around it."""

import logging
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from ..models import quick
from ..stopping import EndWithParent
from ..version import with_commit
from . import cpu, watch
from .hooks.invalid_loss import StopAtInvalidLossHook
from .hooks.progress import ProgressLineHook, on_terminal

_STAMP = '%Y%m%d_%H%M%S'


@RUNNERS.register_module()
class SteadyRunner(Runner):
    """``Runner`` for a machine on which things happen; what ``tools/train.py`` and ``tools/test.py`` build.

    * Log folders are named in the order of the starts, also in the same second or when the clock is set back: what
      reads them takes the later of two that log the same iteration.
    * Data workers end when their process does (:func:`rethink.stopping.end_with_parent`).
    * A log file that cannot be written ends the run, in place of a traceback on stderr for each line.
    * A work directory keeps the config that it was trained with (``NAME.py``): a test, whose config is in its log
      folder, does not overwrite it.
    * Log and checkpoints (``meta['rethink_version']``) say the version and the commit of this package.
    * A loss or a weight that is no number ends the training
      (:class:`~rethink.engine.hooks.invalid_loss.StopAtInvalidLossHook`).
    * The processes of a group watch each other (:mod:`rethink.engine.watch`).
    * On a terminal a line says how far a training is (:class:`~rethink.engine.hooks.progress.ProgressLineHook`).
    * On a CPU a step is cheaper, with the same numbers (:mod:`rethink.models.quick`, :mod:`rethink.engine.cpu`).

    Args: those of ``Runner``.
    """

    def setup_env(self, env_cfg: dict) -> None:
        super().setup_env(env_cfg)
        stamp = [_claim(Path(self.work_dir)) if is_main_process() else None]
        broadcast_object_list(stamp)
        self._timestamp = stamp[0]
        limit = (env_cfg.get('dist_cfg') or {}).get('timeout')
        watch.start(self, limit.total_seconds() if isinstance(limit, timedelta) else limit)

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            handler.handleError = _Loud(handler)
        logger.info(f'rethink {with_commit()}')
        return logger

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        super().register_hooks(default_hooks, custom_hooks)
        if not any(isinstance(hook, StopAtInvalidLossHook) for hook in self.hooks):
            self.register_hook(StopAtInvalidLossHook())

    def dump_config(self) -> None:
        """Nothing yet: MMEngine comes here before it is known whether the runner trains or tests."""

    def train(self) -> nn.Module:
        super().dump_config()
        if get_device() == 'cpu':
            cpu.keep_memory()
            quick.quicken(self.model)
        if not on_terminal():
            return super().train()
        # Not with the other hooks, which the log lists.
        line = ProgressLineHook()
        self.register_hook(line)
        try:
            return super().train()
        finally:
            line.close()

    def save_checkpoint(self, *args, meta: dict | None = None, **kwargs) -> None:
        super().save_checkpoint(*args, meta=dict(meta or {}, rethink_version=with_commit()), **kwargs)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **kwargs) -> DataLoader:
        built = Runner.build_dataloader(dataloader, *args, **kwargs)
        if isinstance(built, DataLoader) and not isinstance(built.worker_init_fn, EndWithParent):
            built.worker_init_fn = EndWithParent(built.worker_init_fn)
        return built


class _Loud:
    """A handler's ``handleError`` that lets what the machine refuses end the run."""

    def __init__(self, handler: logging.Handler) -> None:
        self.handler = handler

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            if error.filename is None:
                error.filename = getattr(self.handler, 'baseFilename', None)
            raise error
        logging.Handler.handleError(self.handler, record)


def _claim(work_dir: Path) -> str:
    """Make the log folder of this start, with a name after all others."""
    now = datetime.fromtimestamp(time.time()).replace(microsecond=0)
    for folder in os.listdir(work_dir) if work_dir.is_dir() else ():
        try:
            now = max(now, datetime.strptime(folder, _STAMP) + timedelta(seconds=1))
        except ValueError:
            continue
    while True:
        try:
            (work_dir / now.strftime(_STAMP)).mkdir(parents=True)
            return now.strftime(_STAMP)
        except FileExistsError:
            now += timedelta(seconds=1)
