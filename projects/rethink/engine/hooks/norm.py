"""Batch normalisation as a thing of its own: trained alone (HPT-BN), or its statistics estimated anew (precise BN)."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_gather, get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from ...errors import ConfigError
from ..draws import Place, SeededSamples

# mmcv's SyncBN needs compiled ops and is no _BatchNorm; a name does not ask for it to be there.
_MMCV_SYNC_BN = 'SyncBatchNorm'


def bn_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of BN and SyncBN that keep running statistics, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if (isinstance(module, _BatchNorm) or type(module).__name__ == _MMCV_SYNC_BN)
        and module.running_mean is not None
    }


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside ``DistributedDataParallel``."""
    return model.module if is_model_wrapper(model) else model


# --- images beside the training --------------------------------------------------------------------------------------


def images_in_rounds(length: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Batches of indices below ``length`` without an end, each round in an order of its own; all of them whole.

    Where there are fewer indices than a batch, a batch has some more often than others, by one.
    """
    for number in itertools.count():
        order = torch.randperm(length, generator=torch.Generator().manual_seed(seed + number)).tolist()
        order *= max(1, -(-batch_size // length))
        for start in range(0, max(length, batch_size) - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def batches_beside_training(runner, number: int) -> Iterator:
    """``number`` batches of training images for this process, of the size in which it trains.

    From a data loader of its own over the training data set, so that the order of the images in training does not
    change. Which images are together in a batch does not depend on the number of processes: the batches are dealt out
    in turn. With more batches than the data set has, it is gone through again.

    Raises:
        ConfigError: the data set has fewer images than a batch, and the training does not go on within one.
    """
    loader = runner.train_dataloader
    batch_size = loader.batch_sampler.batch_size
    if len(loader.dataset) < batch_size and not isinstance(loader.batch_sampler.sampler, InfiniteSampler):
        raise ConfigError(
            f'the training set has {len(loader.dataset)} images, fewer than a batch of {batch_size}; lower '
            'train_dataloader.batch_size.'
        )
    rank, world = get_dist_info()
    everyone = enumerate(images_in_rounds(len(loader.dataset), batch_size, runner.seed))
    beside = DataLoader(
        # Of a rank that no process has: what they draw is not what training draws, and the same in any of them.
        SeededSamples(loader.dataset, runner.seed, rank=-1),
        batch_sampler=[
            [Place(index, iteration, slot) for slot, index in enumerate(batch)]
            for iteration, batch in itertools.islice(everyone, rank, number * world, world)
        ],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
    )
    progress = ProgressBar(number) if is_main_process() else None
    for batch in beside:
        yield batch
        if progress:
            progress.update()
    if progress:
        progress.file.write('\n')


# --- statistics ------------------------------------------------------------------------------------------------------


class _Pool:
    """Number, mean and sum of squared deviations of each of C channels, over all activations that were added.

    In float64, and combined by deviations (Chan, Golub, LeVeque 1979), so that large means cancel nothing.
    """

    def __init__(self, channels: int, device: torch.device) -> None:
        self.number = 0.0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self.deviation = torch.zeros_like(self.mean)

    def add(self, activations: Tensor) -> None:
        """Add activations (B, C, …)."""
        if activations.numel() == 0:
            return
        values = activations.detach().transpose(0, 1).flatten(1).double()  # (C, n)
        mean = values.mean(1)
        self.combine(values.shape[1], mean, (values - mean[:, None]).square().sum(1))

    def combine(self, number: float, mean: Tensor, deviation: Tensor) -> None:
        total = self.number + number
        if total == 0:
            return
        away = mean - self.mean
        self.deviation += deviation + away.square() * (self.number * number / total)
        self.mean += away * (number / total)
        self.number = total


def _gathered(pools: dict[str, _Pool]) -> None:
    """Combine the pools of all processes, in each of them."""
    if not pools:
        return
    numbers = [one.mean.new_tensor([one.number]) for one in pools.values()]
    own = torch.cat([torch.cat([n, one.mean, one.deviation]) for n, one in zip(numbers, pools.values(), strict=True)])
    everyone = all_gather(own)
    start = 0
    for name, pool in pools.items():
        channels = len(pool.mean)
        together = _Pool(channels, pool.mean.device)
        for other in everyone:
            number, mean, deviation = other[start : start + 1 + 2 * channels].split([1, channels, channels])
            together.combine(number.item(), mean, deviation)
        pools[name] = together
        start += 1 + 2 * channels


@contextlib.contextmanager
def _as_before(model: nn.Module):
    """Training mode within; afterwards the modes, the buffers and the random numbers are what they were."""
    modes = {module: module.training for module in model.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = {buffer.device for buffer in model.buffers() if buffer.device.type == 'cuda'}
    model.train()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def reestimate_bn(model: nn.Module, batches: Iterable, step: Callable) -> list[str]:
    """Set the running statistics of BN to mean and population variance of its inputs, over all batches.

    The images of a batch run through the model in training mode, where each layer normalises by the statistics of its
    batch; a layer's inputs are what the layers before it make of them so. All values that it is given in all batches,
    of all processes, count alike: they are one population, of which mean and variance are computed exactly (float64).
    Layers that are in evaluation mode in training (``norm_eval``, ``frozen_stages``) keep their statistics, as do
    layers that are given nothing. Weights, all other buffers, training modes and random state end as they were.

    Not the same as going through the layers one by one, each normalised by the final statistics of those before it:
    that costs as many passes as there are layers. fvcore's ``update_bn_stats`` (detectron2's precise BN; that of 2021)
    and MMPretrain's ``PreciseBNHook`` take the activations as is done here and average the variances of the batches,
    which lacks the variance between their means.

    Args:
        model: not wrapped for distribution.
        batches: of this process; each process must have as many.
        step: runs the model on a batch.

    Returns:
        The names of the layers that have new statistics.
    """
    with _as_before(model):
        layers = {name: layer for name, layer in bn_layers(model).items() if layer.training}
        pools = {name: _Pool(len(layer.running_mean), layer.running_mean.device) for name, layer in layers.items()}

        def add_to(pool: _Pool):
            return lambda layer, inputs: pool.add(inputs[0])

        handles = [layer.register_forward_pre_hook(add_to(pools[name])) for name, layer in layers.items()]
        try:
            for batch in batches:
                step(batch)
        finally:
            for handle in handles:
                handle.remove()
    _gathered(pools)
    pools = {name: pool for name, pool in pools.items() if pool.number}
    for name, pool in pools.items():
        layers[name].running_mean.copy_(pool.mean)
        layers[name].running_var.copy_(pool.deviation / pool.number)
    return list(pools)


@HOOKS.register_module()
class ReestimateBNHook(Hook):
    """Estimate the running statistics of BN anew on training images: "Base" of HPT, and precise BN in its detection.

    HPT (Reed et al. 2022): of the base only mean and variance of BN are fitted to the target data; in detection the
    statistics are estimated anew before each evaluation. :func:`reestimate_bn` says what they are. For classifiers and
    detectors: the images go through the model as in a training step (augmentation, sampling of RoIs), without
    gradients and in float32, in which models are evaluated. Both the checkpoint of an iteration and its evaluation
    have the new statistics.

    MMPretrain's ``PreciseBNHook`` averages the variances of batches, moves the random state, and runs the model
    without targets, which a detector cannot; nor does its loop know a data loader that resumes.

    Args:
        num_images: how many different training images, in all processes together; fewer where the data set has fewer,
            rounded down to whole batches of all processes. The log says how many they were.
        interval: each so many iterations, and after the last; ``'val'``: before each evaluation, however far apart
            they are; None: not during training.
        begin: before the first iteration (not when a run is resumed).

    Raises:
        ConfigError: (before training) the model has no BN to estimate, or there is no whole batch.
    """

    def __init__(self, num_images: int, interval: int | str | None = None, begin: bool = False) -> None:
        self.num_images = num_images
        self.interval = interval
        self.begin = begin

    def before_train(self, runner) -> None:
        self._number_of_batches(runner)
        model = unwrapped(runner.model)
        if hasattr(model, 'encoder_k'):
            raise ConfigError(
                'ReestimateBNHook is for classifiers and detectors: a step of MoCo would move its queue.'
            )
        with _as_before(model):
            if not any(layer.training for layer in bn_layers(model).values()):
                raise ConfigError(
                    'ReestimateBNHook finds no BN layer whose statistics the model trains; take the hook away, or set '
                    'norm_eval=False and frozen_stages=-1.'
                )
        if self.begin and runner.iter == 0:
            self.estimate(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        if self.interval is None:
            return
        done, first, interval = runner.iter + 1, 1, self.interval
        if interval == 'val':
            first, interval = runner.train_loop.val_begin, runner.train_loop.val_interval
        if done >= first and (done % interval == 0 or done == runner.max_iters):
            self.estimate(runner)

    def _number_of_batches(self, runner) -> int:
        """For each process."""
        loader = runner.train_dataloader
        together = loader.batch_sampler.batch_size * get_dist_info()[1]
        number = min(self.num_images, len(loader.dataset)) // together
        if number == 0:
            raise ConfigError(
                f'ReestimateBNHook has {min(self.num_images, len(loader.dataset))} images, fewer than the {together} '
                'of a batch in all processes; set a larger num_images or a smaller train_dataloader.batch_size.'
            )
        return number

    def estimate(self, runner) -> None:
        """Do it now."""
        model, number = unwrapped(runner.model), self._number_of_batches(runner)

        def step(batch) -> None:
            data = model.data_preprocessor(batch, True)
            model(**data, mode='loss')

        changed = reestimate_bn(model, batches_beside_training(runner, number), step)
        images = number * runner.train_dataloader.batch_sampler.batch_size * get_dist_info()[1]
        runner.logger.info(f'Estimated the statistics of {len(changed)} BN layers on {images} training images.')


# --- BN alone --------------------------------------------------------------------------------------------------------


@HOOKS.register_module()
class TrainBNOnlyHook(Hook):
    """Train scales and biases of BN, and its running statistics, and nothing else (HPT-BN of Reed et al. 2022).

    All other parameters get no gradient, so that the optimiser, weight decay included, leaves them alone. The model
    goes on running through every layer, and gradients through all of them down to the first BN.

    Args:
        also: submodules that are trained as well, such as ``['neck']``, MoCo's projector, which has no BN.

    Raises:
        ConfigError: (before training) there is no BN, some BN is not trained (``norm_eval``, ``frozen_stages``), a
            submodule does not exist, or the model is wrapped in something else than ``DistributedDataParallel``.
    """

    def __init__(self, also: tuple[str, ...] | list[str] = ()) -> None:
        self.also = tuple(also)

    def before_run(self, runner) -> None:
        model = unwrapped(runner.model)
        trained, frozen = self.freeze(model)
        runner.logger.info(f'Trained are {trained} parameters of BN{_and(self.also)}; {frozen} others are frozen.')
        if model is runner.model:
            return
        if not isinstance(runner.model, nn.parallel.DistributedDataParallel):
            raise ConfigError(
                f'TrainBNOnlyHook cannot freeze parts of a model in {type(runner.model).__name__}; use '
                'MMDistributedDataParallel.'
            )
        # The wrapper has listed what it reduces, and would wait for the gradients of what is frozen now.
        runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)

    def freeze(self, model: nn.Module) -> tuple[int, int]:
        """Freeze a model that is not wrapped; how many parameters are trained, and how many are not."""
        kept = {parameter for layer in bn_layers(model).values() for parameter in layer.parameters(recurse=False)}
        for name in self.also:
            try:
                kept |= set(model.get_submodule(name).parameters())
            except AttributeError:
                raise ConfigError(
                    f'TrainBNOnlyHook is to train {name!r} as well, which is no part of the model; it has '
                    f'{", ".join(name for name, _ in model.named_children())}.'
                ) from None
        with _as_before(model):
            # Of a momentum encoder nothing is trained, but it normalises by batches as well.
            asleep = [name for name, layer in bn_layers(model).items() if not layer.training]
        if asleep:
            raise ConfigError(
                f'TrainBNOnlyHook finds {len(asleep)} BN layers in evaluation mode ({asleep[0]}); set norm_eval=False '
                'and frozen_stages=-1 in the backbone.'
            )
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad and parameter in kept]
        if not any(one.requires_grad for layer in bn_layers(model).values() for one in layer.parameters()):
            raise ConfigError('TrainBNOnlyHook finds no BN in the model that could be trained; take the hook away.')
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter in kept)
        return len(trained), sum(not one.requires_grad for one in model.parameters())


def _and(names: tuple[str, ...]) -> str:
    return f' and of {", ".join(names)}' if names else ''
