"""Training loops whose resumed run is the run that was not stopped: its images, their augmentation, its random steps.

MMEngine's loop replays the data loader on resume: its original release loads and augments every batch that was already
trained on, which takes hours late in a long schedule; later ones advance the sampler, but only for a plain batch
sampler over ``InfiniteSampler``, not for the aspect-ratio batch sampler that detection configs use. Here the indices
are drawn and thrown away before the first worker starts, whatever the samplers are. What is drawn at random, in a
sample and in a step, is a function of its place in the training (:mod:`rethink.engine.draws`).
"""

import contextlib
import copy
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterable

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from . import draws


class EndlessBatches(BatchSampler):
    """The batches of indices of a batch sampler, from any place on and without an end.

    Args:
        inner: the batch sampler of a data loader. A finite one is started again when it ends, its sampler's
            ``set_epoch`` called with the number of the round (0 first), as MMEngine's loop does.

    ``skip(n)`` drops the first ``n`` batches before they are loaded. There is one stream: a second ``iter`` goes on
    where the first stopped.
    """

    def __init__(self, inner: BatchSampler) -> None:
        # What MMEngine's hooks look for on a batch sampler.
        self.inner = inner
        self.sampler = inner.sampler
        self.batch_size = getattr(inner, 'batch_size', None)
        self.drop_last = getattr(inner, 'drop_last', False)
        self._at_start = True
        self._stream = itertools.chain.from_iterable(self._rounds())

    def _rounds(self, start: int = 0):
        for number in itertools.count(start):
            self._at_start = False
            if hasattr(self.sampler, 'set_epoch'):
                self.sampler.set_epoch(number)
            batches = iter(self.inner)
            first = next(batches, None)
            if first is None:
                raise RuntimeError(
                    'The training data loader has no batch: its data set is smaller than one batch with '
                    'drop_last=True, or empty after filter_cfg.'
                )
            yield itertools.chain([first], batches)

    def skip(self, number: int) -> None:
        """Drop ``number`` batches.

        At the start whole rounds are not drawn, where their length is known without (:func:`_length_of_rounds`); of
        what remains an aspect-ratio batch sampler reads each record once.
        """
        length = self._at_start and _length_of_rounds(self.inner)
        if length:
            rounds, number = divmod(number, length)
            self._stream = itertools.chain.from_iterable(self._rounds(rounds))
        with _shapes_read_once(self.inner):
            next(itertools.islice(self._stream, number, number), None)

    def __iter__(self):
        return self._stream

    def __len__(self) -> int:
        return len(self.inner)


def _is_aspect_ratio(batches: BatchSampler) -> bool:
    samplers = sys.modules.get('mmdet.datasets.samplers')
    return samplers is not None and type(batches) is samplers.AspectRatioBatchSampler


def _length_of_rounds(batches: BatchSampler) -> int:
    """How many batches each round of a batch sampler has, if a round is a function of its number alone; otherwise 0.

    With ``drop_last`` the aspect-ratio batch sampler drops what the shapes of a round's images leave over.
    """
    known = type(batches) is BatchSampler or (_is_aspect_ratio(batches) and not batches.drop_last)
    return len(batches) if known and type(batches.sampler) is DefaultSampler else 0


class _Shapes:
    """A data set that remembers of its records which way they are turned, and has nothing else in them."""

    def __init__(self, dataset) -> None:
        self.dataset, self.seen = dataset, bytearray(len(dataset))

    def __len__(self) -> int:
        return len(self.dataset)

    def get_data_info(self, index: int) -> dict[str, int]:
        if not self.seen[index]:
            record = self.dataset.get_data_info(index)
            self.seen[index] = 1 + (record['width'] < record['height'])
        return dict(width=1, height=self.seen[index])


@contextlib.contextmanager
def _shapes_read_once(batches: BatchSampler):
    """While an aspect-ratio batch sampler is drawn from; a record of COCO is some kilobytes, for width < height."""
    if not _is_aspect_ratio(batches) or not hasattr(batches.sampler, 'dataset'):
        yield
        return
    dataset = batches.sampler.dataset
    batches.sampler.dataset = _Shapes(dataset)
    try:
        yield
    finally:
        batches.sampler.dataset = dataset


class _Batches:
    """Iterates what ``loader`` makes; its first ``skipped`` steps cost nothing and give nothing.

    MMEngine's loops replay as many steps as were trained, by ``next`` or by ``skip_iter``; the sampler is already
    there, so that these steps must not reach the loader.
    """

    def __init__(self, loader: Callable[[], Iterable], skipped: int) -> None:
        self._loader = loader
        self._skipped = skipped
        self._iterator = None

    def __iter__(self):
        return self

    def __next__(self):
        if self._skipped > 0:
            self._skipped -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._loader())
        return next(self._iterator)

    def skip_iter(self, number: int) -> None:
        self._skipped -= min(number, self._skipped)


class _Lazy:
    """A data loader that starts no worker, and draws no index, before its first batch is asked for."""

    def __init__(self, dataloader) -> None:
        self._dataloader = dataloader

    def __getattr__(self, name):
        return getattr(self._dataloader, name)

    def __len__(self) -> int:
        return len(self._dataloader)

    def __iter__(self):
        yield from self._dataloader


class _ByPlace:
    """What both loops share: the seeds, and a data loader whose samples are drawn by their place."""

    def _placed(self, batches: BatchSampler) -> DataLoader:
        """The data loader over these batches, the next of which is for the step that comes.

        PyTorch forbids to exchange the parts of a loader, but this copy has not started and nobody else has it.
        """
        loader = copy.copy(self.dataloader)
        loader.__dict__.update(
            batch_sampler=draws.PlacedBatches(batches, self._iter),
            dataset=draws.SeededSamples(loader.dataset, self.runner.seed, get_rank()),
        )
        return loader

    def _seed_step(self) -> None:
        draws.seed_step(self.runner.seed, get_rank(), self._iter)

    def _can_place(self) -> bool:
        """Whether the loader's samples have a place; says what of them is not drawn by it."""
        loader = self.dataloader
        if loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
            print_log(
                f'{type(self).__name__} cannot keep the order of a data loader without batch sampler.', 'current'
            )
            return False
        for reason in draws.not_by_place(loader, self.runner.model):
            print_log(
                f'{reason}: a resumed training will differ from one that was not stopped.', 'current', logging.WARNING
            )
        return True

    def _say_what_is_lost(self) -> None:
        """Gradients that were accumulated when the checkpoint was written are not in it."""
        if self._iter and not at_a_step(self.runner.optim_wrapper):
            print_log(
                f'The checkpoint was written at iteration {self._iter}, amid an accumulation of gradients, and what '
                'was accumulated is not in it: its next step will be another one than without the stop.',
                'current',
                logging.WARNING,
            )

    def _restore_seed(self, sampler) -> None:
        """Give the sampler the seed it had when training began.

        The Runner reads its own seed from the checkpoint, but only after the samplers were built with a new one.
        """
        if not hasattr(sampler, 'seed'):
            return
        info = self.runner.message_hub.runtime_info
        if 'sampler_seed' in info:
            sampler.seed = info['sampler_seed']
        elif sampler.seed == self._seed_when_built:
            # The checkpoint is from another loop: the sampler had the Runner's seed there as well.
            sampler.seed = self.runner.seed
        self.runner.message_hub.update_info('sampler_seed', sampler.seed)


def at_a_step(optim_wrapper) -> bool:
    """Whether the last iteration ended with a step of the optimiser, so that no gradients wait to be applied."""
    inner = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    return all(one.should_update() for one in inner if isinstance(one, OptimWrapper))


@LOOPS.register_module()
class ResumableTrainLoop(_ByPlace, IterBasedTrainLoop):
    """``IterBasedTrainLoop`` whose resumed run is the uninterrupted one, to the bit.

    ``train_cfg = dict(type='ResumableTrainLoop', max_iters=…, val_interval=…)``, with any map-style data set, sampler
    and batch sampler, any number of workers, which may change, and any number of processes (the same number as before:
    another one gives another order). The order of images is that of ``IterBasedTrainLoop``. The seeds are kept in the
    checkpoint, so that this holds for ``randomness = dict(seed=None)``.

    Args: those of ``IterBasedTrainLoop``.
    """

    def __init__(self, runner, dataloader, *args, **kwargs) -> None:
        # The loader first, so that what the parent class builds over it does not start its workers.
        BaseLoop.__init__(self, runner, dataloader)
        loader = self.dataloader
        super().__init__(runner, _Lazy(loader), *args, **kwargs)
        self.dataloader = loader
        self._seed_when_built = runner.seed

    def run(self):
        self._restore_order()
        self._say_what_is_lost()
        return super().run()

    def run_iter(self, data_batch) -> None:
        self._seed_step()
        super().run_iter(data_batch)

    def _restore_order(self) -> None:
        loader = self.dataloader
        if not self._can_place():
            self.dataloader_iterator = iter(loader)
            return
        self._restore_seed(loader.batch_sampler.sampler)
        start = time.monotonic()
        batches = EndlessBatches(loader.batch_sampler)
        batches.skip(self._iter)
        if self._iter:
            print_log(
                f'Continuing with batch {self._iter + 1} of the same order of images; the {self._iter} before were '
                f'skipped in {time.monotonic() - start:.1f} s without loading them.',
                'current',
            )
        # Made when the first batch is asked for: hooks may exchange the data set before that, and find it as it is.
        self.dataloader_iterator = _Batches(lambda: self._placed(batches), self._iter)


@LOOPS.register_module()
class ResumableEpochTrainLoop(_ByPlace, EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` whose resumed run is the uninterrupted one, to the bit.

    ``train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=…)``, as :class:`ResumableTrainLoop`.

    Args: those of ``EpochBasedTrainLoop``.
    """

    def __init__(self, runner, *args, **kwargs) -> None:
        super().__init__(runner, *args, **kwargs)
        self._seed_when_built = runner.seed

    def run(self):
        if self._can_place():
            self._restore_seed(self.dataloader.batch_sampler.sampler)
            # One for all epochs, whose workers may persist. Hooks see through it to the data set within.
            self.dataloader = self._placed(self.dataloader.batch_sampler)
        self._say_what_is_lost()
        return super().run()

    def run_iter(self, idx, data_batch) -> None:
        self._seed_step()
        super().run_iter(idx, data_batch)


@LOOPS.register_module()
class ValAndTestLoop(ValLoop):
    """``ValLoop`` that each time evaluates the test data as well.

    So that one training gives both the number by which learning rate, schedule and iteration are chosen and the one
    that is then reported. ``val_cfg = dict(type='ValAndTestLoop')`` with ``test_dataloader``, ``test_cfg`` and
    ``test_evaluator`` of the config. Metrics are named ``val/…`` and ``test/…``.

    Args: those of ``ValLoop``.
    """

    def __init__(self, runner, *args, **kwargs) -> None:
        super().__init__(runner, *args, **kwargs)
        self.test_loop = runner.test_loop

    def run(self) -> dict[str, float]:
        """Evaluate; the metrics of both."""
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        metrics = {}
        for part, loop in dict(val=self, test=self.test_loop).items():
            for index, batch in enumerate(loop.dataloader):
                loop.run_iter(index, batch)
            found = loop.evaluator.evaluate(len(loop.dataloader.dataset))
            metrics |= {f'{part}/{name}': value for name, value in found.items()}
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics
