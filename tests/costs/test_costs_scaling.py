"""The model of many GPUs: what is counted is what PyTorch sends, and the limits in which the answer is known."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from conftest import write_detector
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from rethink.costs import of_config, scaling
from rethink.costs.batch import generate_batch
from rethink.costs.scaling import Cluster, Link, Measured
from rethink.engine.scaling import scale
from rethink.errors import ConfigError

FROZEN = "model['backbone'].update(type='FrozenBackbone', of='ResNet', allow_random=True)"
FREE = Link(math.inf, 0.0)
SLOW = Link(1e9, 1e-3)


@pytest.fixture
def detector(tmp_path):
    """Write the tiny FCOS with lines added; its config."""

    def write(more: str = '', **values):
        return of_config.load(str(write_detector(tmp_path / 'tiny.py', tmp_path, more, **values)))

    return write


@pytest.fixture
def group():
    """A group of this process alone."""
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def forecast(cfg, measured: Measured, gpus: int, link: Link = SLOW, per_node: int = 8, **changes):
    traffic = replace(scaling.count(cfg), **changes)
    sent = scaling.messages(traffic, Cluster(per_node, link, link), gpus)
    return sent, scaling.forecast(cfg, traffic, sent, measured, gpus)


# --- what is counted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('frozen', [False, True])
def test_gradients_are_the_bytes_that_ddp_reduces_and_the_checkpoint_what_is_in_it(detector, group, frozen):
    more = FROZEN + "\noptim_wrapper['constructor'] = 'TrainableOptimWrapperConstructor'" if frozen else ''
    cfg = detector(more)
    model = of_config.assemble(cfg)
    wrapped, sent = MMDistributedDataParallel(model), []

    def hook(_, bucket):
        sent.append(bucket.buffer().numel() * bucket.buffer().element_size())
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    wrapped.register_comm_hook(None, hook)
    optim_wrapper = build_optim_wrapper(wrapped, cfg.optim_wrapper)
    wrapped.train_step(generate_batch(cfg.model, model, (64, 64), 2), optim_wrapper)
    counted = scaling.count(cfg)
    assert counted.gradients == sum(sent) > 0
    states = [state['momentum_buffer'] for state in optim_wrapper.optimizer.state_dict()['state'].values()]
    written = [*model.state_dict().values(), *states]
    assert counted.checkpoint == sum(one.numel() * one.element_size() for one in written)


def test_what_is_frozen_is_not_sent(detector):
    whole, frozen = scaling.count(detector()), scaling.count(detector(FROZEN))
    backbone = of_config.assemble(detector()).backbone
    assert whole.gradients - frozen.gradients == 4 * sum(one.numel() for one in backbone.parameters())


def test_bn_alone_is_what_the_hook_trains():
    one, other = (
        scaling.count(of_config.load(f'rethink::shapes/pretrain_moco_r18{name}.py')) for name in ('', '_bnonly')
    )
    assert other.gradients < one.gradients / 10
    assert one.gathered == other.gathered


def test_moco_gathers_its_images_and_its_keys_twice(monkeypatch):
    cfg = of_config.load('rethink::shapes/scratch_moco_r18.py', {'train_dataloader.batch_size': 8})
    model = of_config.assemble(cfg)
    sent = []

    def gather(one):
        sent.append(one.numel() * one.element_size())
        return [one]

    monkeypatch.setattr('mmpretrain.models.utils.batch_shuffle.all_gather', gather)
    monkeypatch.setattr('mmpretrain.models.selfsup.moco.all_gather', gather)
    view = scaling.view_size(cfg.train_dataloader)
    images = torch.zeros(8, 3, *view, dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=[images, images], data_samples=[]), True)
    model(**data, mode='loss')
    assert tuple(sent) == scaling.count(cfg).gathered


def test_syncbn_counts_where_it_normalises_by_batches(detector):
    cfg = detector(norm="type='SyncBN'")
    layers = [one for one in of_config.assemble(cfg).modules() if type(one).__name__ == '_BatchNormXd']
    assert sorted(scaling.count(cfg).synced) == sorted(one.num_features for one in layers) != []
    # A frozen backbone is in evaluation mode, where it sends nothing.
    frozen = scaling.count(detector(FROZEN, norm="type='SyncBN'"))
    assert len(frozen.synced) < len(layers)
    assert scaling.count(detector("sync_bn = 'torch'")).synced == scaling.count(cfg).synced
    assert scaling.count(detector()).synced == ()


def test_views_of_an_unknown_size_are_one_sentence():
    cfg = of_config.load('rethink::shapes/scratch_moco_r18.py')
    cfg.train_dataloader.dataset.pipeline = []
    with pytest.raises(ConfigError, match='no RandomResizedCrop'):
        scaling.count(cfg)


# --- the model -------------------------------------------------------------------------------------------------------


def test_collectives_in_units():
    cluster = Cluster(4, Link(100e9, 1e-6), Link(10e9, 5e-6))
    # In a node: each GPU sends 2 · 3/4 of it; two rounds there and two back.
    assert cluster.all_reduce(10**9, 4) == pytest.approx(2 * 0.75 * 0.01 + 4e-6)
    assert cluster.all_reduce(10**9, 8) == pytest.approx(2 * 7 / 8 * 0.1 + 6 * 5e-6)
    assert cluster.all_gather(10**9, 8) == pytest.approx(7 * 0.1 + 3 * 5e-6)
    assert cluster.all_reduce(10**9, 1) == cluster.all_gather(10**9, 1) == 0
    assert scaling.read_link('11.5:20') == Link(11.5e9, pytest.approx(20e-6))
    assert scaling.read_link('eth10').rate == pytest.approx(0.8 * 1.25e9)
    for wrong in ('eth11', '5', '0:1', '1:-1', 'nan:1'):
        with pytest.raises(ConfigError, match=f'the link {wrong} is none of'):
            scaling.read_link(wrong)


def test_without_a_cost_of_messages_scaling_is_perfect(detector):
    cfg = detector()
    measured = Measured(0.1, disk=math.inf)
    alone, many = forecast(cfg, measured, 1)[1], forecast(cfg, measured, 8, FREE)[1]
    assert many.best == many.worst == alone.worst == 0.1 and many.limit == 'GPU'
    # 8 iterations of 4 images are 16 of 2 and 2 of 16.
    assert many.hours == pytest.approx(alone.hours / 8)


def test_gradients_hide_behind_the_backward_pass_but_for_the_last_bucket(detector):
    cfg, bucket = detector(), 25 * 2**20
    for step, gradients in ((10.0, 10**9), (0.3, 10**9), (10.0, 10**6)):
        sent, found = forecast(cfg, Measured(step, backward=0.5), 16, gradients=gradients)
        last = Cluster(8, SLOW, SLOW).all_reduce(min(bucket, gradients), 16)
        assert sent.last == pytest.approx(last)
        assert found.worst == pytest.approx(step + sent.gradients)
        assert found.best == pytest.approx(step + max(last, sent.gradients - step / 2))
        assert found.best <= found.worst


def test_what_takes_most_is_the_limit(detector):
    cfg = detector()
    assert forecast(cfg, Measured(0.1), 16, gradients=10**9)[1].limit == 'gradients'
    assert forecast(cfg, Measured(0.1), 16, gathered=(10**8,), gradients=4)[1].limit == 'waits'
    # Two images of a process that loads one a second.
    slow = forecast(cfg, Measured(0.1, loader=1.0), 1)[1]
    assert (slow.limit, slow.best, slow.worst, slow.cores) == ('loaders', 2, 2, pytest.approx(20))
    assert forecast(cfg, Measured(4.0, loader=1.0), 1)[1].limit == 'GPU'


def test_accumulated_gradients_are_sent_once(detector):
    one = scaling.messages(scaling.count(detector()), Cluster(1, SLOW, SLOW), 4)
    two = scaling.messages(
        scaling.count(detector("optim_wrapper['accumulative_counts'] = 4")), Cluster(1, SLOW, SLOW), 4
    )
    assert two.gradients == pytest.approx(one.gradients / 4)


def test_hours_are_those_of_the_schedule_that_auto_scale_makes(detector):
    cfg = detector()
    measured = Measured(1.0, evaluation=3.0, inference=8.0, disk=1e6)
    traffic = scaling.count(cfg)
    for gpus in (1, 4):
        found = forecast(cfg, measured, gpus, FREE)[1]
        scaled = of_config.load(cfg.filename)
        scale(scaled, gpus)
        iterations = scaled.train_cfg.max_iters
        saves = iterations // scaled.default_hooks.checkpoint.interval
        alone = iterations // scaled.train_cfg.val_interval * 3 + saves * traffic.checkpoint / 1e6
        assert found.hours * 3600 == pytest.approx(iterations + 8 / gpus + alone)
        assert found.alone == pytest.approx(alone / (iterations + 8 / gpus + alone))
    assert cfg.train_cfg.max_iters == 8
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
    assert forecast(cfg, measured, 4)[1].hours is None


# --- the tool --------------------------------------------------------------------------------------------------------


def test_the_tool(run_in_process, detector):
    cfg = detector()
    tool, config = 'analysis_tools/scaling.py', cfg.filename
    code, printed = run_in_process(tool, config, '--gpus', 1, 8, '--step-seconds', 0.5, '--format', 'json')
    assert code is None
    content = json.loads(printed)
    assert [row['gpus'] for row in content['rows']] == [1, 8]
    assert content['rows'][0]['forecast']['worst'] == 0.5
    assert content['rows'][1]['traffic']['gradients'] == scaling.count(cfg).gradients
    code, printed = run_in_process(tool, config, config, '--gpus', 16)
    assert code is None and 'gradients, ms' in printed and 'efficiency' not in printed
    for options, words in (
        (['--step-seconds', 1, 2, 3], '3 values for 1 configs'),
        (['--step-seconds', 0], '--step-seconds 0 is to be a number above 0'),
        (['--gpus', 0], '--gpus'),
        (['--between', 'string'], 'the link string'),
        (['--disk', 0], '--disk 0'),
    ):
        code, printed = run_in_process(tool, config, *options)
        assert code == 2 and words in printed and printed.count('\n') == 1


def test_the_benchmark_forecasts_what_it_measures(tmp_path, run_in_process):
    """Two processes, one turn; how near it comes is in docs/scaling.md."""
    out = tmp_path / 'out.json'
    arguments = ['--images', 1, '--side', 64, '--turns', 2, '--out', out]
    code, printed = run_in_process(
        '../benchmarks/scaling.py', 'rethink::shapes/freeze_r18_gn_tail_fpn_2x.py', *arguments
    )
    assert code == 0, printed
    (found,) = json.loads(out.read_text())
    for turn in found['turns']:
        assert turn['alone'] < turn['best'] <= turn['worst'] and turn['together'] > 0
