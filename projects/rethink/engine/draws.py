"""What a training draws at random, as a function of its seed and of the place in the training.

MMEngine seeds the generators once, when a training starts, so that what is drawn at iteration 1,000 depends on all
that was drawn before: on the number of workers, on a validation in between, on whether the training was stopped and
resumed. Here the generators of ``random``, ``numpy.random`` and PyTorch are set before each sample and before each
step, from (seed, rank, iteration, place in the batch) and (seed, rank, iteration). A resumed training is thereby the
one that was not stopped, to the bit, whatever its number of workers.
"""

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.device import get_device
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset

_SAMPLE, _STEP = 0, 1


class Place(NamedTuple):
    """A sample's place in a training.

    Args:
        index: what the sampler has drawn, in the data set.
        iteration: the step that trains on it, from 0.
        slot: its place in the batch of this process.
    """

    index: Any
    iteration: int
    slot: int


def _seed(*key: int, everywhere: bool) -> None:
    """Set the generators to what a key says: those of Python, NumPy and PyTorch's on the CPU, or on all devices."""
    # SeedSequence mixes: neighbouring keys give unrelated streams, as in NumPy's own advice for parallel streams.
    words = np.random.SeedSequence([part % 2**64 for part in key]).generate_state(4, np.uint64)
    random.seed(int(words[0]))
    np.random.seed(words[1:3].view(np.uint32))
    seed = int(words[3] >> np.uint64(1))
    torch.default_generator.manual_seed(seed)
    # Not torch.manual_seed, which keeps a note for each device that is not in use yet, of each step.
    if everywhere and torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    elif everywhere and get_device() not in ('cpu', 'cuda'):
        torch.manual_seed(seed)


def seed_step(seed: int, rank: int, iteration: int) -> None:
    """Set all generators for what a step draws: RoIs, dropout, the order in which MoCo shuffles a batch."""
    _seed(_STEP, seed, rank, iteration, everywhere=True)


class PlacedBatches(BatchSampler):
    """The batches of a batch sampler, each index with its place in the training.

    Args:
        inner: a batch sampler.
        iteration: the step that trains on its first batch.

    A further ``iter`` goes on counting, as the rounds of an epoch-based training do.
    """

    def __init__(self, inner: BatchSampler, iteration: int) -> None:
        self.inner, self.iteration = inner, iteration

    def __getattr__(self, name: str):
        if name.startswith('__') or name == 'inner':
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[list[Place]]:
        for batch in self.inner:
            yield [Place(index, self.iteration, slot) for slot, index in enumerate(batch)]
            self.iteration += 1


class SeededSamples(Dataset):
    """A data set whose random augmentation is a function of each sample's place; for a loader over PlacedBatches.

    What a collate function draws is one of the last sample's place. To everybody but the loader it is the data set
    within: attributes are read from it and set on it.
    """

    # PyTorch would hand over a batch at once, where the data set within can take one.
    __getitems__ = None

    def __init__(self, dataset: Dataset, seed: int, rank: int) -> None:
        self.__dict__.update(dataset=dataset, seed=seed, rank=rank)

    def __getitem__(self, place: Place):
        _seed(_SAMPLE, self.seed, self.rank, place.iteration, place.slot, everywhere=False)
        return self.dataset[place.index]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str):
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value) -> None:
        setattr(self.dataset, name, value)


# Modules and samplers that carry something from step to step that is in no checkpoint, or draw where nothing is set.
_CARRY = {
    'BatchSyncRandomResize': 'keeps its size of images for some iterations',
    'DynamicRoIHead': 'keeps a history of IoUs',
    'GroupMultiSourceSampler': "draws its order from NumPy's global generator",
}


def _transforms(dataset) -> Iterator[object]:
    """The transforms of a data set, inside wrappers and other transforms."""
    waiting, seen = [dataset], set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, list | tuple):
            waiting += one
            continue
        yield one
        waiting += [getattr(one, name, None) for name in ('dataset', 'datasets', 'pipeline', 'transforms')]


def not_by_place(loader: DataLoader, model: nn.Module) -> list[str]:
    """What of a training is not a function of the place in it, with the reason, for a line each."""
    found = set()
    for one in _transforms(loader.dataset):
        name = type(one).__name__
        if hasattr(one, 'results_cache'):
            found.add(f'{name} keeps images of the samples before in each worker')
        elif type(getattr(one, 'aug', None)).__module__.startswith('albumentations'):
            found.add(f'{name} draws from generators of albumentations')
    for one in (loader.batch_sampler, loader.batch_sampler.sampler, *model.modules()):
        name = type(one).__name__
        if name in _CARRY:
            found.add(f'{name} {_CARRY[name]}')
    return sorted(found)
