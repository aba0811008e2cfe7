"""An iteration-based training loop that resumes in the order of images it was stopped in, without loading any twice.

MMEngine's loop replays the data loader on resume: its original release loads and augments every batch that was already
trained on, which takes hours late in a long schedule; later ones advance the sampler, but only for a plain batch
sampler over ``InfiniteSampler``, not for the aspect-ratio batch sampler that detection configs use. Here the indices
are drawn and thrown away before the first worker starts, whatever the samplers are.
"""

import copy
import itertools
import time

from mmengine.logging import print_log
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, IterBasedTrainLoop, ValLoop
from torch.utils.data import BatchSampler, IterableDataset


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
        self._stream = itertools.chain.from_iterable(self._rounds())

    def _rounds(self):
        for number in itertools.count():
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
        """Drop ``number`` batches."""
        next(itertools.islice(self._stream, number, number), None)

    def __iter__(self):
        return self._stream

    def __len__(self) -> int:
        return len(self.inner)


class _Batches:
    """Iterates a data loader; its first ``skipped`` steps cost nothing and give nothing.

    MMEngine's loops replay as many steps as were trained, by ``next`` or by ``skip_iter``; the sampler is already
    there, so that these steps must not reach the loader.
    """

    def __init__(self, dataloader, skipped: int) -> None:
        self._dataloader = dataloader
        self._skipped = skipped
        self._iterator = None

    def __iter__(self):
        return self

    def __next__(self):
        if self._skipped > 0:
            self._skipped -= 1
            return None
        if self._iterator is None:
            self._iterator = iter(self._dataloader)
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


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` whose resumed run sees the images the uninterrupted run would have seen.

    ``train_cfg = dict(type='ResumableTrainLoop', max_iters=…, val_interval=…)``, with any map-style data set, sampler,
    batch sampler, number of workers and number of processes (the same number as before: another one gives another
    order). The order is that of ``IterBasedTrainLoop``. The sampler's seed is kept in the checkpoint, so that this
    holds for ``randomness = dict(seed=None)``. What augmentation draws is not restored, nor is it by MMEngine.

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
        return super().run()

    def _restore_order(self) -> None:
        loader = self.dataloader
        if loader.batch_sampler is None or isinstance(loader.dataset, IterableDataset):
            print_log('ResumableTrainLoop cannot keep the order of a data loader without a batch sampler.', 'current')
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
        # PyTorch forbids to exchange the sampler of a loader, but this copy has not started and nobody else has it.
        self.dataloader = copy.copy(loader)
        self.dataloader.__dict__['batch_sampler'] = batches
        self.dataloader_iterator = _Batches(self.dataloader, self._iter)

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
