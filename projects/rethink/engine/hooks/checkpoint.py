"""Checkpoints that survive a kill at any moment."""

import os
from collections import deque
from pathlib import Path

from mmengine.dist import broadcast, is_distributed, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from ...files import write_atomically
from ..loops import at_a_step


@register_backend('rethink_atomic')
class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, with :func:`write_atomically` for writing."""

    def put(self, obj: bytes, filepath) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


def _share_buffers(runner) -> None:
    """Give all processes the first one's buffers, with which a resumed training begins.

    Running statistics of BN are of each process's own images, and each evaluates its part of the images with its own.
    """
    averages = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
    for model in [runner.model, *averages]:
        for buffer in model.buffers():
            broadcast(buffer)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """``CheckpointHook`` whose work directory can be resumed after a kill at any moment.

    MMEngine's hook writes into the final file, empties ``last_checkpoint`` before it fills it, overwrites the newest
    checkpoint when it is also the best, and removes the best so far, and under ``max_keep_ckpts`` the old checkpoint,
    before the new one is written. Here files are renamed into place and the old ones go last. Where gradients are
    accumulated (``accumulative_counts``), a checkpoint that is due between two steps of the optimiser is written at
    the next step, because gradients are in no checkpoint. Of several processes all go on with the buffers that are
    saved.

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
        if isinstance(loop, IterBasedTrainLoop):
            done, end, unit = loop.iter, loop.max_iters, 'iteration'
        elif isinstance(loop, EpochBasedTrainLoop):
            done, end, unit = loop.epoch, loop.max_epochs, 'epoch'
        else:
            return
        if runner.val_loop is None or not 0 < loop.val_begin <= done:
            return
        if done % loop.val_interval == 0 or done == end:
            runner.logger.info(f'Evaluating the checkpoint of {unit} {done} before going on.')
            runner.val_loop.run()

    def before_run(self, runner) -> None:
        super().before_run(runner)
        self._due = False
        self._before: dict[str, str | None] = {}

    def _best(self) -> dict[str, str | None]:
        """Metric, or '' of a single one -> path of its best checkpoint so far."""
        if not self.save_best:
            return {}
        return {'': self.best_ckpt_path} if len(self.key_indicators) == 1 else dict(self.best_ckpt_path_dict)

    def _set_best(self, paths: dict[str, str | None]) -> None:
        if '' in paths:
            self.best_ckpt_path = paths['']
        elif paths:
            self.best_ckpt_path_dict = paths

    def _save_best_checkpoint(self, runner, metrics) -> None:
        # MMEngine's removes what it knows of before it writes; it is told of nothing.
        before = self._best()
        self._before = dict(before)
        self._set_best(dict.fromkeys(before))
        try:
            super()._save_best_checkpoint(runner, metrics)
            self._remove_surpassed(runner)
        finally:
            self._set_best({key: path or before[key] for key, path in self._best().items()})

    def _remove_surpassed(self, runner) -> None:
        """Remove the best checkpoints from before those that have just been written, in this folder alone."""
        for key, path in self._best().items():
            old = self._before.pop(key, None) if path else None
            # Of a folder that was copied, the path is that of the other one.
            old = old and self.file_backend.join_path(self.out_dir, os.path.basename(old))
            if old and old != path and is_main_process() and self.file_backend.isfile(old):
                self.file_backend.remove(old)
                runner.logger.info(f'The previous best checkpoint {old} is removed')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if self.by_epoch:
            return
        self._due |= self.every_n_train_iters(runner, self.interval, self.save_begin)
        self._due |= self.save_last and self.is_last_train_iter(runner)
        if self._due and at_a_step(runner.optim_wrapper):
            runner.logger.info(f'Saving checkpoint at {runner.iter + 1} iterations')
            self._save_checkpoint(runner)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        # Before a checkpoint is written that knows nothing of them any more.
        self._remove_surpassed(runner)
        # MMEngine also comes here after an evaluation that is the best so far, which may fall between two steps.
        self._due = not self.by_epoch and not at_a_step(runner.optim_wrapper)
        if self._due:
            return
        if is_distributed():
            _share_buffers(runner)
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
