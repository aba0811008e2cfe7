"""Checkpoints that survive a kill at any moment, and that PyTorch's safe loader can read."""

import os
import pickle
from collections import deque
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from mmengine.utils import digit_version

from ..files import write_atomically


@register_backend('rethink_atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, with :func:`write_atomically` for writing."""

    def put(self, obj: bytes, filepath) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """``CheckpointHook`` whose work directory can be resumed after a kill at any moment.

    MMEngine's hook writes into the final file, empties ``last_checkpoint`` before it fills it, overwrites the newest
    checkpoint when it is also the best, and under ``max_keep_ckpts`` removes the old checkpoint before the new one is
    written. Here files are renamed into place and the old checkpoint goes last.

    Args: those of ``CheckpointHook``. Files that are not local (``backend_args``, an ``out_dir`` with a scheme) are
    written as by ``CheckpointHook``.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        local = '://' not in str(self.out_dir or '')
        if local and self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend='rethink_atomic')

    def before_train(self, runner) -> None:
        """Evaluate first, where the checkpoint was written at an iteration that is followed by an evaluation.

        Checkpoint, then evaluation is MMEngine's order, and a kill between the two would leave a hole in the curve,
        or a finished training without a result. Where the kill came later, the same numbers are measured again.
        """
        super().before_train(runner)
        loop = runner.train_loop
        if not isinstance(loop, IterBasedTrainLoop) or runner.val_loop is None or not 0 < loop.val_begin <= loop.iter:
            return
        if loop.iter % loop.val_interval == 0 or loop.iter == loop.max_iters:
            runner.logger.info(f'Evaluating the checkpoint of iteration {loop.iter} before going on.')
            runner.val_loop.run()

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [kept for kept in self.keep_ckpt_ids if kept != step] + [step]
            outdated, kept = kept[: -self.max_keep_ckpts], kept[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_atomically(Path(runner.work_dir) / 'last_checkpoint', self.last_ckpt.encode())
            for old in outdated:
                path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)


# Since 2.6 PyTorch loads only tensors and plain containers unless classes are named. MMEngine's checkpoints also hold
# the logged values, HistoryBuffers over numpy arrays; mmengine 0.10.7 does not name them and fails to resume.


def _statistic(owner: type, name: str):
    """What a checkpoint asks of ``getattr``: a statistic of ``HistoryBuffer``, and of nothing else."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise pickle.UnpicklingError(f'A checkpoint may not ask for {name!r} of {owner!r}.')
    return getattr(owner, name)


def allow_history() -> None:
    """Let ``torch.load(weights_only=True)`` read MMEngine's checkpoints, without letting it run anything else."""
    if digit_version(torch.__version__) < digit_version('2.6'):  # loads everything unless asked not to
        return
    core = getattr(np, '_core', None) or np.core
    scalars = [type(np.dtype(name)) for name in ('bool', 'int32', 'int64', 'uint32', 'float32', 'float64')]
    names = [HistoryBuffer, np.ndarray, np.dtype, *scalars]
    for function in (core.multiarray._reconstruct, core.multiarray.scalar):
        # numpy 2 moved them: files of either version are read under either.
        names += [(function, f'numpy.{folder}.multiarray.{function.__name__}') for folder in ('_core', 'core')]
    torch.serialization.add_safe_globals([*names, (_statistic, 'builtins.getattr')])


def read_checkpoint(path: str | os.PathLike):
    """What ``torch.save`` wrote to a local file, without running code from it and on CPU.

    Tensors stay on disk until they are used.

    Raises:
        pickle.UnpicklingError: it is no checkpoint, or holds more than tensors, containers and MMEngine's logs.
        RuntimeError, EOFError, OSError: it cannot be read, for instance because it is half-written.
    """
    # Anew each time: OneDL's mmengine takes the classes off PyTorch's list again after each of its own loads.
    allow_history()
    try:
        return torch.load(path, map_location='cpu', mmap=True, weights_only=True)
    except RuntimeError:  # files from before PyTorch 1.6 cannot be mapped
        return torch.load(path, map_location='cpu', weights_only=True)


allow_history()
