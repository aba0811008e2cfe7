"""The end of a training whose loss or weights are no numbers any more."""

import math
from collections.abc import Mapping

import torch
from mmdet.engine.hooks import CheckInvalidLossHook
from mmengine.dist import get_dist_info
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import Tensor

from ...errors import Diverged
from ...trust.tensors import finite

_WHAT_TO_DO = (
    'lower the learning rate, make the warm-up longer or clip the gradients (optim_wrapper.clip_grad), and look at '
    'the annotations'
)


@HOOKS.register_module()
class StopAtInvalidLossHook(CheckInvalidLossHook):
    """MMDetection's ``CheckInvalidLossHook`` that looks at each iteration, and says which loss broke first.

    The training ends at the iteration whose loss is NaN or infinite, before anything of it is logged, averaged (EMA)
    or saved. Weights may be none while the loss still is a number, after a gradient that was none: they are looked at
    before each checkpoint, and at the end. So the last checkpoint is one that a training can go on from.

    ``tools/train.py`` registers it for every run; elsewhere it is named in ``custom_hooks``. MMEngine's
    ``RuntimeInfoHook`` reads each loss from the device in each iteration, which is where the device is waited for;
    this hook comes after it.

    In mixed precision, a step that the loss scaler skips because a gradient is infinite has a finite loss and goes on.
    A loss that is not finite ends the training there too, as in Detectron2: the scaler changes gradients alone.

    Args:
        interval: iterations between two looks at the loss.

    Raises:
        Diverged: with iteration, learning rate and the first of the losses that is no number; or with the tensor.
    """

    # After RuntimeInfoHook, before those that average, log and save.
    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1) -> None:
        super().__init__(interval)

    def before_train(self, runner) -> None:
        # Some models keep an attention mask of -inf.
        buffers = _model(runner).named_buffers()
        self._infinite_by_design = {name for name, value in buffers if not _finite(value)}

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        if self.every_n_train_iters(runner, self.interval):
            losses = {name: _number(value) for name, value in (outputs or {}).items() if 'loss' in name}
            if not all(map(math.isfinite, losses.values())):
                raise Diverged(_sentence(runner, losses))
        if self.is_last_train_iter(runner) or any(
            self.every_n_train_iters(runner, hook.interval, hook.save_begin)
            for hook in runner.hooks
            if isinstance(hook, CheckpointHook) and not hook.by_epoch
        ):
            self._check_weights(runner, _model(runner).state_dict())

    def after_train_epoch(self, runner) -> None:
        self._check_weights(runner, _model(runner).state_dict())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        # Also of the best so far, and of one that waited for a step of the optimiser.
        averages = [hook.ema_model.state_dict() for hook in runner.hooks if isinstance(hook, EMAHook)]
        for weights in [checkpoint['state_dict'], *averages]:
            self._check_weights(runner, weights)

    def _check_weights(self, runner, weights: Mapping[str, object]) -> None:
        broken = [
            name
            for name, value in weights.items()
            if isinstance(value, Tensor)
            and not _finite(value)
            and name.removeprefix('module.') not in self._infinite_by_design
        ]
        if broken:
            more = f' and {len(broken) - 1} other tensors have' if len(broken) > 1 else ' has'
            raise Diverged(
                f'{_place(runner)} the loss is a number, and {broken[0]}{more} values that are NaN or infinite, of a '
                f'gradient that was; nothing was saved of it{_last(runner)}; {_WHAT_TO_DO}.'
            )


def _model(runner) -> torch.nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _number(value) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _finite(value: Tensor) -> bool:
    return value.layout != torch.strided or value.is_meta or value.is_quantized or finite(value)


def _sentence(runner, losses: dict[str, float]) -> str:
    parts = {name: value for name, value in losses.items() if name != 'loss'} or losses
    # Where each part is finite, their sum is not.
    first = next((name for name, value in parts.items() if not math.isfinite(value)), 'loss')
    values = ', '.join(f'{name} {value:.4g}' for name, value in parts.items())
    return (
        f'{_place(runner)} the loss is {losses.get("loss", losses[first]):.4g}, and {first} broke first ({values}); '
        f'nothing was saved of it{_last(runner)}; {_WHAT_TO_DO}.'
    )


def _place(runner) -> str:
    rates = {
        name: values[0] for name, values in runner.optim_wrapper.get_lr().items() if name.rpartition('.')[2] == 'lr'
    }
    rate = ', '.join(f'{name.rpartition(".")[0]} {value:g}'.lstrip() for name, value in rates.items())
    rank, world = get_dist_info()
    process = f' of process {rank}' if world > 1 else ''
    return f'at iteration {runner.iter + 1}{process}, with a learning rate of {rate},'


def _last(runner) -> str:
    last = runner.message_hub.get_info('last_ckpt')
    return f', and {last} is the last checkpoint' if last else ', and there is no checkpoint yet'
