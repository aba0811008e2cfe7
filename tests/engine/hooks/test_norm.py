"""Statistics of BN against float64 over the union of all batches; BN trained alone leaves everything else as it is."""

import copy
import itertools
from collections import Counter

import pytest
import torch
from conftest import write_detector
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from rethink.engine.hooks import ReestimateBNHook, TrainBNOnlyHook
from rethink.engine.hooks.norm import bn_layers, images_in_rounds, reestimate_bn
from rethink.errors import ConfigError
from tiny_moco import classifier, config, copied, moco, train, write_images
from torch import nn


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('images'))


def inputs_of_bn(model, batches, step) -> dict[str, torch.Tensor]:
    """All that each BN layer is given in training mode, (C, n) in float64."""
    seen = {}

    def keep(name):
        return lambda layer, args, output: seen.setdefault(name, []).append(
            args[0].double().transpose(0, 1).flatten(1)
        )

    handles = [layer.register_forward_hook(keep(name)) for name, layer in bn_layers(model).items()]
    model.train()
    with torch.no_grad():
        for batch in batches:
            step(batch)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts, 1) for name, parts in seen.items()}


def assert_exact(model, seen) -> None:
    assert seen.keys() == bn_layers(model).keys()
    for name, layer in bn_layers(model).items():
        values = seen[name]
        torch.testing.assert_close(layer.running_mean, values.mean(1).float(), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(layer.running_var, values.var(1, unbiased=False).float(), rtol=1e-6, atol=1e-9)


class Net(nn.Module):
    """BN on maps, one used twice, BN on vectors, one never used, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.convolution, self.twice = nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.vectors, self.unused, self.frozen = nn.BatchNorm1d(4), nn.BatchNorm2d(2), nn.BatchNorm1d(4)
        self.register_buffer('steps', torch.zeros(1))

    def train(self, mode=True):
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x):
        self.steps += 1
        x = self.twice(self.convolution(nn.functional.dropout(self.first(x), 0.5)))
        x = self.twice(x[..., :2, :2])
        return self.frozen(self.vectors(x.mean((2, 3))))


def test_mean_and_population_variance_of_all_activations():
    torch.manual_seed(0)
    net = Net().eval()
    # Batches of several sizes, whose means differ: averages of their variances lack most of the variance.
    batches = [torch.randn(n, 3, 6, 6) + 5 * number for number, n in enumerate((2, 5, 3))]
    before, state = copied(net), torch.get_rng_state()
    modes = {name: module.training for name, module in net.named_modules()}
    changed = reestimate_bn(net, batches, net)
    assert changed == ['first', 'twice', 'vectors']
    assert torch.equal(state, torch.get_rng_state())
    assert modes == {name: module.training for name, module in net.named_modules()}
    assert not any(one.grad is not None for one in net.parameters())
    statistics = {f'{name}.running_{kind}' for name in changed for kind in ('mean', 'var')}
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key]) != (key in statistics), key

    oracle = copy.deepcopy(net)
    oracle.load_state_dict(before)
    torch.set_rng_state(state)  # dropout
    seen = inputs_of_bn(oracle, batches, oracle)
    for name in changed:
        layer, values = getattr(net, name), seen[name]
        torch.testing.assert_close(layer.running_mean, values.mean(1).float(), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(layer.running_var, values.var(1, unbiased=False).float(), rtol=1e-6, atol=1e-9)
    averaged = torch.stack([batch.var((0, 2, 3)) for batch in batches]).mean(0)
    assert (net.first.running_var > 5 * averaged).all()


def test_a_large_mean_costs_no_digits():
    layer = nn.BatchNorm1d(1)
    values = torch.randn(4000, 1).double() * 0.01 + 3000
    values = values.float()
    reestimate_bn(layer, values.split(100), layer)
    wanted = values.double().var(0, unbiased=False)
    torch.testing.assert_close(layer.running_var.double(), wanted, rtol=1e-6, atol=0)


def test_an_error_amid_it_leaves_the_model_as_it_was():
    net = Net().eval()
    before = copied(net)
    with pytest.raises(RuntimeError):
        reestimate_bn(net, [torch.randn(2, 3, 6, 6), torch.randn(2, 7, 6, 6)], net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net.training and not net.first._forward_pre_hooks


def test_whole_rounds_of_whole_batches():
    batches = list(itertools.islice(images_in_rounds(7, 3, seed=1), 6))
    assert [len(batch) for batch in batches] == [3] * 6
    for number in range(3):
        both = sum(batches[2 * number : 2 * number + 2], [])
        assert len(set(both)) == 6 and set(both) <= set(range(7))
    assert batches[:2] != batches[2:4]


def test_fewer_images_than_a_batch_are_gone_through_again_within_it():
    """1 % of RESISC-45 in one process."""
    first, second = itertools.islice(images_in_rounds(252, 256, seed=0), 2)
    assert sorted(Counter(first).values()) == [1] * 248 + [2] * 4 and set(first) == set(second) == set(range(252))
    assert first != second and [len(batch) for batch in itertools.islice(images_in_rounds(3, 8, 0), 2)] == [8, 8]


def estimated(cfg, number: int):
    """A run whose last iteration estimates; its runner and the batches that it should have used."""
    runner, _ = train(cfg) if cfg.default_scope == 'mmpretrain' else (Runner.from_cfg(cfg), None)
    if cfg.default_scope == 'mmdet':
        runner.train()
    loader = runner.train_dataloader
    size = loader.batch_sampler.batch_size
    indices = itertools.islice(images_in_rounds(len(loader.dataset), size, runner.seed), number)
    return runner, [loader.collate_fn([loader.dataset[index] for index in batch]) for batch in indices]


def test_a_classifier(images, tmp_path):
    hook = dict(type='ReestimateBNHook', num_images=11, interval=2)
    cfg = config(images, tmp_path, classifier(), max_iters=3, custom_hooks=[hook])
    runner, batches = estimated(cfg, 2)  # 11 of 12 images are two batches of 4
    model = runner.model

    def step(batch):
        model(**model.data_preprocessor(batch, True), mode='loss')

    # What is saved at an iteration of the interval, and at the last, has the new statistics.
    for iteration in (2, 3):
        saved = torch.load(tmp_path / f'iter_{iteration}.pth', weights_only=False)['state_dict']
        model.load_state_dict(saved)
        seen = inputs_of_bn(model, batches, step)
        model.load_state_dict(saved)
        assert_exact(model, seen)


def test_estimation_leaves_the_training_alone(images, tmp_path):
    hook = dict(type='ReestimateBNHook', num_images=8, interval=1, begin=True)
    with_hook, one = train(config(images, tmp_path / 'a', classifier(), custom_hooks=[hook]))
    without, other = train(config(images, tmp_path / 'b', classifier()))
    assert one.images == other.images
    statistics = 0
    for key, value in with_hook.model.state_dict().items():
        same = torch.equal(value, without.model.state_dict()[key])
        assert same != ('running' in key), key
        statistics += not same
    assert statistics == 40
    assert not torch.equal(one.before['backbone.bn1.running_mean'], other.before['backbone.bn1.running_mean'])


def test_begin_is_the_beginning_only(images, tmp_path):
    hooks = [dict(type='ReestimateBNHook', num_images=8, begin=True)]
    train(config(images, tmp_path, classifier(), max_iters=2, custom_hooks=hooks))
    _, watch = train(config(images, tmp_path, classifier(), max_iters=3, custom_hooks=hooks, resume=True))
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert all(torch.equal(value, saved[key]) for key, value in watch.before.items())


def test_a_detector(data, tmp_path):
    """FCOS, whose head is run on several levels: all of them are one population."""
    more = "custom_hooks = [dict(type='ReestimateBNHook', num_images=12, interval=8)]\ntrain_cfg.update(max_iters=1)"
    cfg = Config.fromfile(write_detector(tmp_path / 'tiny.py', data, more))
    for part in cfg.train_dataloader.dataset.pipeline:
        if part.type == 'RandomFlip':
            part.prob = 0.0
    cfg.train_cfg.val_interval = 8
    cfg.update(work_dir=str(tmp_path / 'run'), launcher='none', experiment_name='reestimate-detector')
    runner, batches = estimated(cfg, 6)
    model = runner.model
    assert 'bbox_head.cls_convs.0.bn' in bn_layers(model)

    def step(batch):
        model(**model.data_preprocessor(batch, True), mode='loss')

    now = copied(model)
    seen = inputs_of_bn(model, batches, step)
    model.load_state_dict(now)
    assert_exact(model, seen)


@pytest.mark.parametrize(
    ('model', 'hook', 'message'),
    [
        (classifier(), dict(num_images=3), 'has 3 images, fewer than the 4 of a batch'),
        (classifier(dict(type='GN', num_groups=2)), dict(num_images=8), 'finds no BN layer'),
        (classifier(norm_eval=True), dict(num_images=8), 'finds no BN layer'),
        (moco(), dict(num_images=8), 'for classifiers and detectors: a step of MoCo'),
    ],
)
def test_nothing_to_estimate_is_one_sentence(images, tmp_path, model, hook, message):
    cfg = config(images, tmp_path, model, custom_hooks=[dict(type='ReestimateBNHook', interval=1, **hook)])
    with pytest.raises(ConfigError, match=message):
        train(cfg)


def test_sync_bn_of_mmcv_counts_by_its_name():
    """Its class needs compiled ops to be imported, and is not torch's."""
    sync = type('SyncBatchNorm', (nn.Module,), {})()
    sync.register_buffer('running_mean', torch.zeros(2))
    assert list(bn_layers(nn.Sequential(sync, nn.SyncBatchNorm(2), nn.BatchNorm2d(2, track_running_stats=False)))) == [
        '0',
        '1',
    ]
    assert ReestimateBNHook(8).interval is None


# --- BN alone --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('also', [[], ['neck']])
def test_bn_alone_is_trained(images, tmp_path, also):
    """With momentum and a weight decay of 0.1, which would move whatever the optimiser touches."""
    hook = dict(type='TrainBNOnlyHook', also=also)
    runner, watch = train(config(images, tmp_path, moco(), max_iters=4, custom_hooks=[hook]))
    model = runner.model
    parameters = dict(model.named_parameters())
    bn = {id(one) for layer in bn_layers(model).values() for one in layer.parameters()}
    for key, value in model.state_dict().items():
        moved = not torch.equal(value, watch.before[key])
        trained = id(parameters.get(key)) in bn or key.split('.')[0] in also or 'running_' in key
        if key.startswith('backbone.') or key.startswith('neck.'):
            assert moved == (trained or key.endswith('num_batches_tracked')), key
            assert key not in parameters or parameters[key].requires_grad == trained
        elif key.startswith('encoder_k.module.0.') and key in parameters:
            # The key encoder follows, in BN alone: the first iteration made the rest equal, and it stays so.
            assert not parameters[key].requires_grad
            query = key.replace('encoder_k.module.0.', 'backbone.')
            same = torch.equal(value, model.state_dict()[query])
            assert same != (id(parameters[query]) in bn), key
    kept = {id(one) for one in parameters.values() if one.requires_grad}
    states = runner.optim_wrapper.optimizer.state
    assert {id(one) for one in states} == kept


@pytest.mark.parametrize(
    ('model', 'hook', 'message'),
    [
        (classifier(dict(type='GN', num_groups=2)), {}, 'finds no BN in the model'),
        (classifier(norm_eval=True), {}, '20 BN layers in evaluation mode .*norm_eval=False'),
        (classifier(frozen_stages=1), {}, '5 BN layers in evaluation mode .*frozen_stages=-1'),
        (classifier(), dict(also=['projector']), "'projector' as well, which is no part of the model; it has .*neck"),
    ],
)
def test_what_cannot_be_trained_alone_is_one_sentence(images, tmp_path, model, hook, message):
    cfg = config(images, tmp_path, model, custom_hooks=[dict(type='TrainBNOnlyHook', **hook)])
    with pytest.raises(ConfigError, match=message):
        train(cfg)


def test_only_the_images_need_not_be_kept_for_the_backward_pass():
    """What convolutions are given is kept for the layers before them anyway, and BN keeps what convolutions give."""
    init_default_scope('mmpretrain')
    images = torch.randn(4, 3, 32, 32)
    kept = []
    for bn_only in (False, True):
        model = MODELS.build(classifier()).train()
        if bn_only:
            TrainBNOnlyHook().freeze(model)
        weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
        sizes = {}

        def note(tensor, weights=weights, sizes=sizes):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            features = model.backbone(images)  # alive, as nothing that is kept may be freed while it is counted
        kept.append(sum(sizes.values()))
        features[0].sum().backward()
        trained = [name for name, one in model.named_parameters() if one.grad is not None]
        assert bool([name for name in trained if 'conv' in name]) != bn_only
    assert kept[0] - kept[1] == images.nbytes
