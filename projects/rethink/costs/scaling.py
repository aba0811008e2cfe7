"""What processes send each other in a training step, and a model of the step on 1 to 64 GPUs (docs/scaling.md).

Bytes are counted from the config: its model is built without values. Seconds come from them and from what the caller
knows: a step on one GPU, links, loaders. The costs of collectives are those of Thakur, Rabenseifner and Gropp 2005
(Optimization of Collective Communication Operations in MPICH), at the rate of the slowest link of the ring.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, OPTIMIZERS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks.init import without_values
from ..config_tree import accumulated, items, step_name, total_batch, type_name
from ..engine.scaling import scale
from ..errors import ConfigError

# What a link reaches of its line rate. Assumed, as the latencies below are; nccl-tests measure both.
REACHED = 0.8
# A limit is named where more than this of the GPU's time is lost.
LOST = 0.1


# --- what is counted -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """What a config makes its processes send in a step, and the first one write.

    Args:
        name: of the config.
        images: of one GPU in an iteration.
        accumulated: iterations in a step of the optimiser.
        base: images in a step that the config's schedule is for; None where it does not say.
        workers: processes that load for each GPU.
        gradients: bytes of what is trained, which each GPU has after backward.
        bucket: bytes that DistributedDataParallel reduces at a time (``model_wrapper_cfg.bucket_cap_mb``).
        synced: channels of each SyncBN layer that normalises by batches.
        gathered: bytes that each GPU gives to all others within the forward pass, one number a call: MoCo's images,
            which are shuffled between GPUs, and its keys, twice.
        checkpoint: bytes of weights and of the optimiser's state.
    """

    name: str
    images: int
    accumulated: int
    base: int | None
    workers: int
    gradients: int
    bucket: int
    synced: tuple[int, ...]
    gathered: tuple[int, ...]
    checkpoint: int


def count(cfg: Config) -> Traffic:
    """The traffic of a config; nothing is loaded, and no tensor has values.

    Raises:
        ConfigError: no batch size, or MoCo with views of an unknown size.
    """
    images, _ = total_batch(cfg, 1)
    model = without_values(cfg).train()
    for hook in cfg.get('custom_hooks') or []:
        if type_name(hook.get('type')) == 'TrainBNOnlyHook':
            HOOKS.build(hook).freeze(model)
    trained = [one for one in model.parameters() if one.requires_grad]
    return Traffic(
        name=Path(cfg.filename).stem,
        images=images,
        accumulated=accumulated(cfg),
        base=(cfg.get('auto_scale_lr') or {}).get('base_batch_size'),
        workers=cfg.train_dataloader.get('num_workers') or 0,
        gradients=_bytes(trained),
        bucket=((cfg.get('model_wrapper_cfg') or {}).get('bucket_cap_mb') or 25) * 2**20,
        synced=tuple(one.num_features for one in model.modules() if one.training and _is_synced(one, cfg)),
        gathered=_gathered(cfg, model, images),
        checkpoint=_bytes(model.state_dict().values()) + _state(cfg, trained),
    )


def _bytes(tensors) -> int:
    return sum(one.numel() * one.element_size() for one in tensors)


def _is_synced(module: nn.Module, cfg: Config) -> bool:
    # mmcv's class has the name of PyTorch's.
    return type(module).__name__ == 'SyncBatchNorm' or bool(cfg.get('sync_bn')) and isinstance(module, _BatchNorm)


def _gathered(cfg: Config, model: nn.Module, images: int) -> tuple[int, ...]:
    if not (hasattr(model, 'queue') and hasattr(model, 'encoder_k')):
        return ()
    view = view_size(cfg.train_dataloader)
    if view is None:
        raise ConfigError(
            f'the views of {cfg.filename} have an unknown size, because its train_dataloader has no '
            'RandomResizedCrop; name a config that has one.'
        )
    keys = 4 * images * model.queue.shape[0]
    return 4 * images * 3 * math.prod(view), keys, keys


def view_size(tree) -> tuple[int, int] | None:
    """Height and width of what a nested config crops; None where it does not."""
    if isinstance(tree, dict) and step_name(tree.get('type')) == 'RandomResizedCrop':
        side = tree['scale']
        return (side, side) if isinstance(side, int) else tuple(side)
    return next((found for _, inner in items(tree) if (found := view_size(inner))), None)


def _state(cfg: Config, trained: list[nn.Parameter]) -> int:
    """Bytes of the optimiser's state, as it is after a step."""
    settings = dict((cfg.get('optim_wrapper') or {}).get('optimizer') or {})
    if 'type' not in settings or not trained:
        return 0
    fake = [nn.Parameter(torch.empty_like(one, device='meta')) for one in trained]
    for one in fake:
        one.grad = torch.empty_like(one)
    optimizer = OPTIMIZERS.build(dict(settings, params=fake))
    optimizer.step()
    return _bytes(value for value in _leaves(optimizer.state_dict()['state']) if isinstance(value, torch.Tensor))


def _leaves(tree):
    for value in tree.values():
        yield from _leaves(value) if isinstance(value, dict) else [value]


# --- what is given ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Link:
    """A connection: bytes a second in one direction, and the seconds after which a message has arrived."""

    rate: float
    latency: float


# Line rates as published, a GPU's (first three) or a node's; latencies assumed.
LINKS = {
    'nvlink2': Link(150e9, 10e-6),
    'nvlink3': Link(300e9, 10e-6),
    'nvlink4': Link(450e9, 10e-6),
    'pcie4': Link(32e9, 15e-6),
    'eth10': Link(1.25e9, 50e-6),
    'eth25': Link(3.125e9, 50e-6),
    'eth100': Link(12.5e9, 50e-6),
    'ib100': Link(12.5e9, 20e-6),
    'ib200': Link(25e9, 20e-6),
    'ib8x200': Link(200e9, 20e-6),
}


def read_link(text: str) -> Link:
    """A name of :data:`LINKS`, of whose rate :data:`REACHED` is taken, or ``GB/S:MICROSECONDS`` as measured.

    Raises:
        ConfigError: it is neither.
    """
    if text in LINKS:
        return Link(REACHED * LINKS[text].rate, LINKS[text].latency)
    rate, _, latency = text.partition(':')
    try:
        link = Link(float(rate) * 1e9, float(latency) / 1e6)
    except ValueError:
        link = None
    if link is None or not link.rate > 0 or not link.latency >= 0:
        raise ConfigError(
            f'the link {text} is none of {", ".join(LINKS)} and not GB/S:MICROSECONDS as in 11.5:20; name one of them.'
        )
    return link


@dataclass(frozen=True)
class Cluster:
    """GPUs, and what connects them.

    Args:
        per_node: GPUs of a node.
        within: between GPUs of a node.
        between: all that leaves a node.
    """

    per_node: int
    within: Link
    between: Link

    def link(self, gpus: int) -> Link:
        """The slowest on the way round all of them."""
        if gpus <= self.per_node:
            return self.within
        return Link(min(self.within.rate, self.between.rate), max(self.within.latency, self.between.latency))

    def all_reduce(self, number: int, gpus: int) -> float:
        """Seconds in which all GPUs have the sum of a message of so many bytes."""
        link = self.link(gpus)
        return 2 * _rounds(gpus) * link.latency + 2 * (gpus - 1) / gpus * number / link.rate

    def all_gather(self, number: int, gpus: int) -> float:
        """Seconds in which all GPUs have the messages of all, each of so many bytes."""
        link = self.link(gpus)
        return _rounds(gpus) * link.latency + (gpus - 1) * number / link.rate


def _rounds(gpus: int) -> int:
    return math.ceil(math.log2(gpus))


@dataclass(frozen=True)
class Measured:
    """What the caller has measured of one process, in seconds.

    Args:
        step: of an iteration on one GPU with the config's images, data at hand.
        backward: the part of it in which gradients come, behind which they can be sent.
        loader: images a second and core of the training pipeline; None: loaders are left out.
        evaluation: of the first process in an evaluation, while the others wait.
        inference: of one GPU for all images of an evaluation.
        disk: bytes a second that the first process writes, while the others wait.
    """

    step: float
    backward: float = 2 / 3
    loader: float | None = None
    evaluation: float = 0.0
    inference: float = 0.0
    disk: float = 0.5e9


# --- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Messages:
    """Seconds that an iteration's messages take.

    Args:
        gradients: all of them, which DistributedDataParallel sends while the backward pass goes on.
        last: of them the bucket for which no backward pass is left.
        waits: SyncBN's and MoCo's, for which each GPU stands still.
    """

    gradients: float
    last: float
    waits: float


def messages(traffic: Traffic, cluster: Cluster, gpus: int) -> Messages:
    """How long so many GPUs take to send what a config has them send.

    PyTorch's SyncBatchNorm gathers 2 C + 1 numbers of each GPU in the forward pass and reduces 2 C in the backward.
    """
    synced = sum(cluster.all_gather(8 * c + 4, gpus) + cluster.all_reduce(8 * c, gpus) for c in traffic.synced)
    return Messages(
        # Where steps are accumulated, MMEngine reduces the gradients in the last of them alone.
        gradients=cluster.all_reduce(traffic.gradients, gpus) / traffic.accumulated,
        last=cluster.all_reduce(min(traffic.bucket, traffic.gradients), gpus) / traffic.accumulated,
        waits=synced + sum(cluster.all_gather(one, gpus) for one in traffic.gathered),
    )


@dataclass(frozen=True)
class Forecast:
    """A training on so many GPUs; times in seconds.

    Args:
        best: an iteration with as much as possible of the gradients sent during backward.
        worst: one with none.
        loaders: in which a process's workers load what it needs; 0 where no rate is given.
        cores: for each GPU, which load as fast as ``best`` takes images; None where no rate is given.
        efficiency: of the GPUs in a ``worst`` iteration, against one that waits for nothing.
        limit: what takes most where more than :data:`LOST` is: gradients, waits or loaders; otherwise GPU.
        hours: of the training with ``worst``, evaluations and checkpoints included; None for a length in epochs.
        alone: the part of them in which the first process evaluates or writes and the others wait; None likewise.
    """

    best: float
    worst: float
    loaders: float
    cores: float | None
    efficiency: float
    limit: str
    hours: float | None
    alone: float | None


def forecast(cfg: Config, traffic: Traffic, sent: Messages, measured: Measured, gpus: int) -> Forecast:
    """The model: a process's own iteration, what is sent and loaded, and the schedule that ``--auto-scale`` makes.

    Args:
        cfg: read, not changed.
        traffic: of :func:`count`.
        sent: of :func:`messages`, for as many GPUs.

    Raises:
        ConfigError: of :func:`rethink.engine.scaling.scale`.
    """
    hidden = measured.backward * measured.step / traffic.accumulated
    best = measured.step + sent.waits + max(sent.last, sent.gradients - hidden)
    worst = measured.step + sent.waits + sent.gradients
    loaders, cores = 0.0, None
    if measured.loader:
        loaders = traffic.images / (max(traffic.workers, 1) * measured.loader)
        cores = traffic.images / best / measured.loader
    lost = dict(gradients=sent.gradients, waits=sent.waits, loaders=loaders - measured.step)
    best, worst = max(best, loaders), max(worst, loaders)
    efficiency = measured.step / worst
    return Forecast(
        best=best,
        worst=worst,
        loaders=loaders,
        cores=cores,
        efficiency=efficiency,
        limit=max(lost, key=lost.get) if efficiency < 1 - LOST else 'GPU',
        **_length(cfg, traffic, measured, gpus, worst),
    )


def _length(cfg: Config, traffic: Traffic, measured: Measured, gpus: int, step: float) -> dict:
    if 'max_iters' not in (cfg.get('train_cfg') or {}):
        return dict(hours=None, alone=None)
    scaled = copy.deepcopy(cfg)
    if traffic.base:
        scale(scaled, gpus)
    iterations = scaled.train_cfg.max_iters
    saving = (scaled.get('default_hooks') or {}).get('checkpoint') or {}
    evaluations = iterations // scaled.train_cfg.get('val_interval', 1000) if scaled.get('val_evaluator') else 0
    saves = iterations // saving.interval if saving.get('by_epoch') is False and saving.get('interval', -1) > 0 else 0
    alone = evaluations * measured.evaluation + saves * traffic.checkpoint / measured.disk
    whole = iterations * step + evaluations * measured.inference / gpus + alone
    return dict(hours=whole / 3600, alone=alone / whole)


# --- tables ----------------------------------------------------------------------------------------------------------


def counted(traffic: Traffic) -> list[tuple[str, str]]:
    """A row of what is counted of a config."""
    synced = len(traffic.synced)
    return [
        ('config', traffic.name),
        ('images of a GPU', str(traffic.images)),
        ('MB of gradients', f'{traffic.gradients / 1e6:.1f}'),
        ('SyncBN layers', str(synced) if synced else '–'),
        ('their kB', f'{sum(16 * c + 4 for c in traffic.synced) / 1e3:.0f}' if synced else '–'),
        ('MB gathered', f'{sum(traffic.gathered) / 1e6:.1f}' if traffic.gathered else '–'),
        ('MB of a checkpoint', f'{traffic.checkpoint / 1e6:.0f}'),
    ]


def row(traffic: Traffic, gpus: int, sent: Messages, found: Forecast | None) -> list[tuple[str, str]]:
    """A row of the forecast of a config on so many GPUs; without ``found`` of the messages alone."""
    images = traffic.images * traffic.accumulated * gpus
    columns = [
        ('config', traffic.name),
        ('GPUs', str(gpus)),
        ('images a step', str(images)),
        ('lr ×', f'{images / traffic.base:.3g}' if traffic.base else '–'),
        ('gradients, ms', f'{1e3 * sent.gradients:.1f}'),
        ('waits, ms', f'{1e3 * sent.waits:.1f}'),
    ]
    if found is None:
        return columns
    return [
        *columns,
        ('iteration, ms', f'{1e3 * found.best:.0f} to {1e3 * found.worst:.0f}'),
        ('efficiency', f'{found.efficiency:.2f}'),
        ('limit', found.limit),
        ('cores a GPU', '–' if found.cores is None else f'{found.cores:.1f}'),
        ('hours', '–' if found.hours is None else f'{found.hours:.1f}'),
        ('first process alone', '–' if found.alone is None else f'{100 * found.alone:.1f} %'),
    ]


def words(cluster: Cluster) -> str:
    """What the seconds stand on, in two lines."""

    def say(link: Link) -> str:
        return f'{link.rate / 1e9:.3g} GB/s and {1e6 * link.latency:.3g} µs'

    return (
        f'{cluster.per_node} GPUs a node; {say(cluster.within)} within, {say(cluster.between)} between nodes.\n'
        'Waits: messages of SyncBN and MoCo. An iteration: from most gradients sent during backward to none; '
        'what stands after it is of the latter, but for the cores, with which loaders keep up with the former.'
    )
