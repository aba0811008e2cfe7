"""A resumed run sees the images that the uninterrupted one sees, and loads no others."""

import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from mmdet.datasets.samplers import AspectRatioBatchSampler
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.dataset import sampler as mmengine_sampler
from mmengine.dist import get_dist_info
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from rethink.engine.loops import EndlessBatches
from torch.utils.data import BatchSampler, Dataset, SequentialSampler

NAMES = itertools.count()


@DATASETS.register_module()
class LoggedNumbers(Dataset):
    """The numbers below ``length``, as images of two shapes; writes down each that is loaded."""

    def __init__(self, length: int, log: str) -> None:
        self.length, self.log = length, log

    def __len__(self):
        return self.length

    def get_data_info(self, index):
        return dict(width=1 + index % 3, height=2)

    def __getitem__(self, index):
        with open(self.log, 'a') as log:
            log.write(f'{index}\n')
        return torch.tensor(index)


@MODELS.register_module()
class SeesNumbers(BaseModel):
    """Keeps the batches that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, *numbers, mode='tensor'):
        self.seen.append([int(number) for number in numbers])
        return dict(loss=self.weight * 1.0)


def train(folder: Path, until: int, loop='ResumableTrainLoop', resume=False, seed=3, **loader):
    """Train until an iteration; the batches seen and the images loaded."""
    log = folder / 'loaded'
    log.write_text('')
    dataset = dict(type='LoggedNumbers', length=11, log=str(log))
    sampler = loader.pop('sampler', dict(type='InfiniteSampler', shuffle=True))
    runner = Runner(
        model=dict(type='SeesNumbers'),
        work_dir=str(folder / 'work'),
        train_dataloader=dict(dataset=dataset, sampler=sampler, **dict(batch_size=3, num_workers=0) | loader),
        train_cfg=dict(type=loop, max_iters=until),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(logger=None, checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
        randomness=dict(seed=seed),
        resume=resume,
        # Another scope than the default, in which MMDetection's samplers are found.
        default_scope='mmdet',
        experiment_name=f'loops{next(NAMES)}',
    )
    runner.train()
    # Left to the garbage collector, an iterator waits five seconds for each of its workers.
    runner.train_loop.dataloader_iterator = runner.train_loop.dataloader._iterator = None
    return runner.model.seen, [int(line) for line in log.read_text().split()]


ASPECT = dict(type='AspectRatioBatchSampler')
DATALOADERS = {
    'plain': dict(),
    'aspect ratio': dict(batch_sampler=ASPECT),
    'finite sampler': dict(sampler=dict(type='DefaultSampler', shuffle=True)),
    'finite sampler, drop last': dict(sampler=dict(type='DefaultSampler', shuffle=True), drop_last=True),
    'finite sampler, aspect ratio': dict(
        sampler=dict(type='DefaultSampler', shuffle=True), batch_sampler=dict(ASPECT, drop_last=True)
    ),
    'workers': dict(num_workers=2, persistent_workers=True, prefetch_factor=3, batch_sampler=ASPECT),
}


@pytest.fixture
def second_of_two(monkeypatch):
    """Samplers believe to be in the second of two processes."""
    monkeypatch.setattr(mmengine_sampler, 'get_dist_info', lambda: (1, 2))
    assert get_dist_info() == (0, 1)


@pytest.mark.parametrize('loader', DATALOADERS.values(), ids=DATALOADERS)
@pytest.mark.parametrize('seed', [3, None])
def test_resumed_order(tmp_path, loader, seed, monkeypatch):
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    stock, stopped = tmp_path / 'stock', tmp_path / 'stopped'
    stock.mkdir(), stopped.mkdir()
    first, _ = train(stopped, 5, seed=seed, **loader)
    rest, loaded = train(stopped, 12, resume=True, seed=seed, **loader)
    if seed is None:
        # The seed that the first run drew is in its checkpoint; a run with it, uninterrupted, is the reference.
        meta = torch.load(stopped / 'work' / 'iter_5.pth', weights_only=False)['meta']
        seed = meta['seed']
    whole, _ = train(stock, 12, loop='IterBasedTrainLoop', seed=seed, **loader)
    assert first == whole[:5]
    assert rest == whole[5:]
    if not loader.get('num_workers'):
        assert loaded == sum(rest, [])
    else:  # workers load ahead, and write as they come
        ahead = 2 * loader.get('prefetch_factor', 2) * 3
        assert len(loaded) <= len(sum(rest, [])) + ahead


def test_resumed_order_of_one_of_several_processes(tmp_path, second_of_two):
    (tmp_path / 'a').mkdir(), (tmp_path / 'b').mkdir()
    whole, _ = train(tmp_path / 'a', 12, batch_sampler=ASPECT)
    train(tmp_path / 'b', 5, batch_sampler=ASPECT)
    rest, loaded = train(tmp_path / 'b', 12, resume=True, batch_sampler=ASPECT)
    assert rest == whole[5:]
    assert loaded == sum(rest, [])


def test_a_checkpoint_of_the_stock_loop_can_be_resumed(tmp_path):
    (tmp_path / 'a').mkdir(), (tmp_path / 'b').mkdir()
    train(tmp_path / 'b', 5, loop='IterBasedTrainLoop', seed=None)
    seed = torch.load(tmp_path / 'b' / 'work' / 'iter_5.pth', weights_only=False)['meta']['seed']
    rest, loaded = train(tmp_path / 'b', 12, resume=True, seed=None)
    whole, _ = train(tmp_path / 'a', 12, loop='IterBasedTrainLoop', seed=seed)
    assert rest == whole[5:]
    assert loaded == sum(rest, [])


def test_a_loader_without_batches_says_so():
    batches = EndlessBatches(BatchSampler(SequentialSampler(range(2)), batch_size=3, drop_last=True))
    with pytest.raises(RuntimeError, match='no batch'):
        next(iter(batches))


class Records(list):
    """Widths and heights; counts how often a record is read."""

    read = 0

    def get_data_info(self, index):
        self.read += 1
        return dict(zip(('width', 'height'), self[index], strict=True))


class OtherAspectRatio(AspectRatioBatchSampler):
    pass


@pytest.mark.parametrize('drop_last', [False, True])
@pytest.mark.parametrize('kind', [BatchSampler, AspectRatioBatchSampler, OtherAspectRatio])
@pytest.mark.parametrize('sampler', [DefaultSampler, partial(DefaultSampler, round_up=False), InfiniteSampler])
def test_what_is_skipped_is_what_would_have_been_drawn(sampler, kind, drop_last):
    records = Records((2 + index % 3, 3) for index in range(11))
    drawn = list(itertools.islice(EndlessBatches(kind(sampler(records, seed=7), 3, drop_last)), 60))
    # One after the other: the first from the start, the second from within a round.
    for first, second in ((0, 5), (3, 3), (4, 8), (9, 1), (16, 23)):
        batches = EndlessBatches(kind(sampler(records, seed=7), 3, drop_last))
        batches.skip(first)
        assert list(itertools.islice(batches, 2)) == drawn[first : first + 2]
        batches.skip(second)
        assert list(itertools.islice(batches, 9)) == drawn[first + second + 2 : first + second + 11]
        assert batches.sampler.dataset is records


@pytest.mark.parametrize(('sampler', 'read'), [(DefaultSampler, 9), (InfiniteSampler, 11)])
def test_skipping_many_rounds_reads_each_record_once(sampler, read):
    records = Records((2 + index % 3, 3) for index in range(11))
    batches = EndlessBatches(AspectRatioBatchSampler(sampler(records, seed=7), 3))
    batches.skip(4 * 10_000 + 2)
    assert records.read <= read


def test_skipping_is_cheap():
    # The last tenth of a 6x schedule, 540k iterations of two images.
    batches = EndlessBatches(BatchSampler(SequentialSampler(range(100_000)), batch_size=2, drop_last=True))
    batches.skip(500_001)
    assert next(iter(batches)) == [2, 3]
