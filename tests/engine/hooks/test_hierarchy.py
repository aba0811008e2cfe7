"""A step of a hierarchy begins with the base, all of it, and ends with a backbone that others can begin with."""

import pickle

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS
from rethink.engine.hooks.norm import images_in_rounds
from rethink.engine.launch import use_amp
from rethink.errors import ConfigError
from tiny_moco import backbone, classifier, config, copied, moco, train, write_images
from torch import nn

ENCODERS = {'backbone.': 'encoder_k.module.0.', 'neck.': 'encoder_k.module.1.'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def base(data, tmp_path_factory):
    """The export of a training of two iterations, from random weights."""
    folder = tmp_path_factory.mktemp('base')
    train(config(data, folder, max_iters=2, custom_hooks=[dict(type='ExportBackboneHook')]))
    return folder / 'backbone.pth'


def begin(base, **more) -> dict:
    return dict(type='InitFromBaseHook', checkpoint=str(base), **more)


def keys_and_queries(state: dict) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    """Each tensor of the query with the one of the key encoder."""
    pairs = [
        (key, value, state[theirs + key.removeprefix(ours)])
        for key, value in state.items()
        for ours, theirs in ENCODERS.items()
        if key.startswith(ours)
    ]
    assert len(pairs) == len([key for key in state if key.startswith('encoder_k.module')])
    return pairs


def test_query_key_and_projector_begin_equal_to_the_base(data, base, tmp_path):
    cfg = config(data, tmp_path, custom_hooks=[begin(base)])
    cfg.randomness.seed = 8
    _, watch = train(cfg)
    weights = torch.load(base, weights_only=True)['state_dict']
    assert weights.keys() == {key for key in watch.before if key.startswith(('backbone.', 'neck.'))}
    for key, query, of_key in keys_and_queries(watch.before):
        assert torch.equal(query, weights[key]) and torch.equal(of_key, weights[key]), key


def test_a_projector_at_random_as_in_the_released_configs(data, base, tmp_path, capsys):
    cfg = config(data, tmp_path, custom_hooks=[begin(base, projector=False)], max_iters=1)
    cfg.randomness.seed = 8
    _, watch = train(cfg)
    weights = torch.load(base, weights_only=True)['state_dict']
    for key, query, of_key in keys_and_queries(watch.before):
        assert torch.equal(query, of_key)
        assert torch.equal(query, weights[key]) == key.startswith('backbone.')
    assert 'backbone 100 of 100 tensors; the rest begins at random.' in capsys.readouterr().out


def test_the_queue_is_full_of_keys_of_training_images(data, base, tmp_path):
    """Against keys computed here, from the files, by a model with the base's weights."""
    runner, watch = train(config(data, tmp_path, custom_hooks=[begin(base)], max_iters=1))
    weights = torch.load(base, weights_only=True)['state_dict']
    init_default_scope('mmpretrain')
    model = MODELS.build(moco()).train()
    model.load_state_dict(weights, strict=False)
    dataset = runner.train_dataloader.dataset
    batches = images_in_rounds(len(dataset), 4, runner.seed)
    wanted = []
    for _ in range(24 // 4):
        samples = [dataset[index]['inputs'][1] for index in next(batches)]
        images = (torch.stack(samples).float() - 127) / 64
        wanted.append(nn.functional.normalize(model.neck(model.backbone(images))[0], dim=1))
    torch.testing.assert_close(watch.before['queue'], torch.cat(wanted).T, rtol=1e-5, atol=1e-6)
    assert watch.before['queue_ptr'] == 0 and watch.before['encoder_k.steps'] == 0
    # The queue as long as two rounds: each image is there twice.
    assert len(dataset) == 12


def test_filling_the_queue_leaves_the_order_of_training_alone(data, base, tmp_path):
    _, with_queue = train(config(data, tmp_path / 'a', custom_hooks=[begin(base)], max_iters=5))
    _, without = train(config(data, tmp_path / 'b', max_iters=5))
    assert with_queue.images == without.images


@pytest.mark.parametrize('kind', ['load_from', 'init_cfg'])
def test_what_mmpretrain_does_by_itself(data, base, tmp_path, kind):
    """The key encoder is random before the first iteration, and a copy of the query from the first one on.

    MMEngine's moving average copies its source at its first update (``steps`` 0), which is before the first key.
    """
    more = dict(load_from=str(base)) if kind == 'load_from' else {}
    cfg = config(data, tmp_path, max_iters=1, **more)
    if kind == 'init_cfg':
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(base), prefix='backbone.')
    cfg.optim_wrapper.optimizer.lr = 0.0
    runner, watch = train(cfg)
    weights = torch.load(base, weights_only=True)['state_dict']
    before = {key: (query, of_key) for key, query, of_key in keys_and_queries(watch.before)}
    convolution = 'backbone.layer1.0.conv1.weight'
    assert torch.equal(before[convolution][0], weights[convolution])
    assert not torch.equal(*before[convolution])
    parameters = {key for key, _ in runner.model.named_parameters()}
    # With a learning rate of 0, what the first iteration used is still there.
    for key, query, of_key in keys_and_queries(runner.model.state_dict()):
        if key in parameters:
            assert torch.equal(query, of_key)


def test_the_copy_happens_only_at_step_0(base):
    """Where the trap is: a model that has trained, or the checkpoint of one, and then gets another backbone."""
    init_default_scope('mmpretrain')
    model = MODELS.build(moco())
    model.init_weights()
    model.encoder_k.steps += 5
    load_checkpoint(model, str(base))
    model.encoder_k.update_parameters(nn.Sequential(model.backbone, model.neck))
    query, key = model.backbone.conv1.weight, model.encoder_k.module[0].conv1.weight
    assert (query - key).abs().max() > 0.01
    # Buffers are copied at every step.
    assert torch.equal(model.backbone.bn1.running_mean, model.encoder_k.module[0].bn1.running_mean)


def test_a_resume_without_a_checkpoint_begins_with_the_base(data, base, tmp_path):
    """As MMDetection's own tools ask for it: the runner is told to resume, and finds nothing to resume from."""
    _, watch = train(config(data, tmp_path / 'new', max_iters=1, custom_hooks=[begin(base)], resume=True))
    weights = torch.load(base, weights_only=True)['state_dict']
    assert torch.equal(watch.before['backbone.conv1.weight'], weights['backbone.conv1.weight'])


def test_a_resumed_run_is_the_uninterrupted_one(data, base, tmp_path):
    """The base is gone by then: to begin again would fail."""
    moved = tmp_path / 'base.pth'
    moved.write_bytes(base.read_bytes())
    hooks = [begin(moved), dict(type='ExportBackboneHook')]
    whole, _ = train(config(data, tmp_path / 'whole', max_iters=5, custom_hooks=hooks))
    train(config(data, tmp_path / 'killed', max_iters=2, custom_hooks=hooks))
    moved.unlink()
    resumed, watch = train(config(data, tmp_path / 'killed', max_iters=5, custom_hooks=hooks, resume=True))
    checkpoint = torch.load(tmp_path / 'killed/iter_2.pth', weights_only=False)['state_dict']
    assert all(torch.equal(value, checkpoint[key]) for key, value in watch.before.items())
    assert len(watch.images) == 3
    wanted = whole.model.state_dict()
    for key, value in resumed.model.state_dict().items():
        # The images of a batch are shuffled in an order of its own, and sums of floats with them.
        torch.testing.assert_close(value, wanted[key], rtol=1e-4, atol=1e-5, msg=key)
    first, second = (torch.load(tmp_path / name / 'backbone.pth', weights_only=True) for name in ('whole', 'killed'))
    assert first['meta'] == second['meta'] and first['meta']['iterations'] == 5


def test_mixed_precision(data, base, tmp_path):
    hooks = [begin(base), dict(type='TrainBNOnlyHook', also=['neck'])]
    cfg = config(data, tmp_path, custom_hooks=hooks)
    cfg.optim_wrapper.type = 'OptimWrapper'
    use_amp(cfg)
    runner, watch = train(cfg)
    assert watch.before['queue'].dtype == torch.float32
    torch.testing.assert_close(watch.before['queue'].norm(dim=0), torch.ones(24), rtol=1e-2, atol=0)
    assert torch.isfinite(runner.model.queue).all()


@pytest.mark.parametrize('registry', [MODELS, MMDET_MODELS], ids=['mmpretrain', 'mmdet'])
def test_the_export_is_loaded_by_both(base, registry):
    ours = dict(backbone(), init_cfg=dict(type='Pretrained', checkpoint=str(base), prefix='backbone.'))
    scope = 'mmpretrain' if registry is MODELS else 'mmdet'
    init_default_scope(scope)
    model = registry.build(ours)
    model.init_weights()
    weights = torch.load(base, weights_only=True)['state_dict']
    found = model.state_dict()
    assert len(found) == 120
    assert all(torch.equal(value, weights[f'backbone.{key}']) for key, value in found.items())


def test_the_export_says_what_it_is(data, base, tmp_path):
    cfg = config(data, tmp_path, custom_hooks=[begin(base), dict(type='ExportBackboneHook')])
    runner, _ = train(cfg)
    content = torch.load(tmp_path / 'backbone.pth', weights_only=True)
    assert content['meta'] == dict(config=None, base=str(base), iterations=3)
    assert not list(tmp_path.glob('.*part'))
    for key, value in content['state_dict'].items():
        assert torch.equal(value, runner.model.state_dict()[key])
    assert {key.split('.')[0] for key in content['state_dict']} == {'backbone', 'neck'}


def test_a_classifier_begins_with_the_backbone_alone(data, base, tmp_path):
    _, watch = train(config(data, tmp_path, classifier(), max_iters=1, custom_hooks=[begin(base)]))
    weights = torch.load(base, weights_only=True)['state_dict']
    for key, value in watch.before.items():
        if key.startswith('backbone.'):
            assert torch.equal(value, weights[key])


RAN = []


def run(what) -> None:
    RAN.append(what)


class Evil:
    def __reduce__(self):
        return run, ('code',)


def wrong(kind: str, base, folder) -> tuple[dict, dict]:
    """Settings of a config that cannot begin, and of its hook."""
    if kind == 'deeper':
        return dict(model=moco(depth=34)), {}
    if kind == 'shallower':
        # The layers of a ResNet-18 have the names and shapes of some of a ResNet-34.
        init_default_scope('mmpretrain')
        deep = MODELS.build(backbone(depth=34))
        torch.save(dict(state_dict={f'backbone.{k}': v for k, v in deep.state_dict().items()}), folder / 'r34.pth')
        return {}, dict(checkpoint=str(folder / 'r34.pth'))
    if kind == 'wider':
        return dict(model=moco(base_channels=16)), {}
    if kind == 'code':
        torch.save(dict(state_dict={}, evil=Evil()), folder / 'evil.pth')
        return {}, dict(checkpoint=str(folder / 'evil.pth'))
    if kind == 'queue':
        return dict(model=moco(queue_len=22)), {}
    if kind == 'twice':
        return dict(load_from=str(base)), {}
    if kind == 'remote':
        return {}, dict(checkpoint='torchvision://resnet18')
    if kind == 'batch':
        return dict(batch_size=24), {}
    content = torch.load(base, weights_only=True)
    if kind == 'hole':
        del content['state_dict']['backbone.layer4.1.bn2.weight']
    if kind == 'projector':
        content['state_dict']['neck.mlp.0.weight'] = torch.zeros(5, 5)
    torch.save(content, folder / f'{kind}.pth')
    return {}, dict(checkpoint=str(folder / f'{kind}.pth'))


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('deeper', r'100 of 180 tensors match, 80 are missing .*name a checkpoint of this architecture'),
        ('shallower', r"100 of 100 tensors match, 80 are not in the model \('layer1\.2"),
        ('wider', 'tensors match, .* have another shape'),
        ('code', 'holds more than values: it asks for '),
        ('queue', 'queue_len is 22, not a multiple of the 4 images of a batch'),
        ('twice', 'both load_from .* and InitFromBaseHook'),
        ('remote', 'not a local file; download it'),
        ('batch', 'has 12 images, fewer than a batch of 24'),
        ('hole', r"99 of 100 tensors match, 1 are missing \('layer4\.1\.bn2\.weight'\)"),
        ('projector', 'projector.* does not fit'),
    ],
)
def test_what_does_not_fit_is_one_sentence_before_training(data, base, tmp_path, kind, message):
    settings, hook = wrong(kind, base, tmp_path)
    cfg = config(data, tmp_path / 'run', custom_hooks=[begin(base) | hook], **settings)
    with pytest.raises(ConfigError, match=message):
        train(cfg)
    assert not list((tmp_path / 'run').rglob('*.pth'))
    assert not RAN


def test_the_evil_file_is_evil(tmp_path):
    """That is, the test above could fail."""
    pickle.loads(pickle.dumps(Evil()))
    assert RAN.pop() == 'code'


def test_a_failed_load_changes_nothing(base, tmp_path):
    from rethink.engine.hooks import InitFromBaseHook

    _, hook = wrong('projector', base, tmp_path)
    init_default_scope('mmpretrain')
    model = MODELS.build(moco())
    before = copied(model)
    with pytest.raises(ConfigError):
        InitFromBaseHook(**hook).initialise(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
