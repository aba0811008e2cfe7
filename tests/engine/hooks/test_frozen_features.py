"""Features computed once: results are those of images, a file is for these images and weights alone."""

import itertools
from logging import getLogger
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import rethink  # noqa: F401  (first: gives mmcv its ops)
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS
from mmpretrain.utils import register_all_modules
from PIL import Image
from rethink.analysis.logs import read_run
from rethink.engine.hooks import features as module
from rethink.engine.hooks.features import FeatureSet, FrozenFeaturesHook, always_the_same
from rethink.engine.hooks.hierarchy import InitFromBaseHook
from rethink.errors import ConfigError

NAMES = itertools.count()
SIZE = 32
LOAD = [dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=SIZE), dict(type='CenterCrop', crop_size=SIZE)]
PACK = [dict(type='PackInputs')]
FLIP = [dict(type='RandomFlip', prob=0.5)]

register_all_modules(init_default_scope=False)


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """18, 7 and 9 images of noise for training, validation and test, of two classes that differ a little."""
    folder = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for split, number in (('train', 18), ('val', 7), ('test', 9)):
        lines = []
        for index in range(number):
            low = random.integers(0, 120, 3) + 40 * (index % 2)
            picture = random.integers(low, low + 60, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(picture).save(folder / f'{split}{index}.png')
            lines.append(f'{split}{index}.png {index % 2}')
        (folder / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return folder


@pytest.fixture(scope='module')
def base(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    init_default_scope('mmpretrain')
    path = tmp_path_factory.mktemp('base') / 'backbone.pth'
    backbone = MODELS.build(model()['backbone'])
    backbone.init_weights()
    # Statistics that are not the 0 and 1 which a file that was not read would leave, and that let signals through.
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0
            layer.train()
    backbone(torch.randn(16, 3, SIZE, SIZE))
    torch.save({f'backbone.{key}': value for key, value in backbone.state_dict().items()}, path)
    return path


def model(**backbone) -> dict:
    return dict(
        type='FeatureClassifier',
        data_preprocessor=dict(type='FeatureDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True),
        backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, frozen_stages=4, norm_eval=True)
        | backbone,
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=2, in_channels=64, topk=1),
    )


def config(data, base, work_dir, hook: bool = True, train=(), max_iters: int = 6, **more) -> Config:
    def loader(split, shuffle):
        pipeline = [*LOAD, *(train if shuffle else ()), *PACK]
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=shuffle),
            dataset=dict(
                type='CustomDataset',
                data_root=str(data),
                ann_file=f'{split}.txt',
                pipeline=pipeline,
                # Which would collect garbage, a second each time among all that the tests hold.
                serialize_data=False,
            ),
        )

    hooks = [dict(type='InitFromBaseHook', checkpoint=str(base))] + [dict(type='FrozenFeaturesHook')] * hook
    return Config(
        dict(
            default_scope='mmpretrain',
            model=more.pop('model', model()),
            train_dataloader=loader('train', True),
            val_dataloader=loader('val', False),
            test_dataloader=loader('test', False),
            val_evaluator=dict(type='Accuracy', topk=1),
            test_evaluator=dict(type='Accuracy', topk=1),
            val_cfg=dict(type='ValAndTestLoop'),
            test_cfg=dict(type='TestLoop'),
            train_cfg=dict(type='ResumableTrainLoop', max_iters=max_iters, val_interval=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5, momentum=0.9)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
                checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=3),
            ),
            custom_hooks=hooks,
            log_processor=dict(by_epoch=False, window_size=1),
            work_dir=str(work_dir),
            randomness=dict(seed=3),
            experiment_name=f'features{next(NAMES)}',
            **more,
        )
    )


def train(cfg: Config) -> dict[str, torch.Tensor]:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def metrics(work_dir) -> dict:
    return {
        at: {key: value for key, value in entry.items() if '/' in key} for at, entry in read_run(work_dir).val.items()
    }


@pytest.mark.parametrize('augmented', [False, True])
def test_training_on_features_is_training_on_images(data, base, tmp_path, augmented):
    steps = FLIP if augmented else []
    images = train(config(data, base, tmp_path / 'images', hook=False, train=steps))
    features = train(config(data, base, tmp_path / 'features', train=steps))
    before = torch.load(base, weights_only=True)
    moved = 0
    for key, value in features.items():
        if key.startswith('backbone.'):
            assert torch.equal(value, before[key]) and torch.equal(images[key], before[key])
        else:
            assert torch.allclose(value, images[key], atol=1e-5), key
            moved += value.abs().max() > 0.05
    assert moved == 2, 'weight and bias of the head'
    assert metrics(tmp_path / 'features') == metrics(tmp_path / 'images')
    losses = [[one.train[at]['loss'] for at in range(1, 7)] for one in map(read_run, sorted(tmp_path.iterdir()))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    kept = {path.name for path in (tmp_path / 'features' / 'features').glob('*.pt')}
    assert kept == {'val.pt', 'test.pt'} | ({'train.pt'} if not augmented else set())


def test_validation_and_test_are_logged_side_by_side(data, base, tmp_path):
    runner = Runner.from_cfg(config(data, base, tmp_path))
    runner.train()
    assert set(metrics(tmp_path)) == {3, 6}
    assert all(set(entry) == {'val/accuracy/top1', 'test/accuracy/top1'} for entry in metrics(tmp_path).values())
    # Each over its own images: sevenths and ninths.
    last = metrics(tmp_path)[6]
    for part, number in (('val', 7), ('test', 9)):
        right = last[f'{part}/accuracy/top1'] * number / 100
        assert right == pytest.approx(round(right), abs=1e-3)
    # The checkpoint gives the same by MMEngine's test, on images.
    cfg = config(data, base, tmp_path / 'again', load_from=str(tmp_path / 'iter_6.pth'))
    assert Runner.from_cfg(cfg).test()['accuracy/top1'] == pytest.approx(last['test/accuracy/top1'])


def test_a_resumed_training_is_the_uninterrupted_one(data, base, tmp_path):
    whole = train(config(data, base, tmp_path / 'whole'))
    train(config(data, base, tmp_path / 'parts', max_iters=3))
    with mock.patch.object(module, '_compute', side_effect=AssertionError('they are in the file')):
        parts = train(config(data, base, tmp_path / 'parts', resume=True))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def parts(cfg, base):
    """What the hook looks at of a runner, whose building takes seconds, with the backbone of ``base``."""
    init_default_scope('mmpretrain')
    built = MODELS.build(cfg.model)
    InitFromBaseHook(str(base)).initialise(built)
    loops = {
        f'{part}_loop': SimpleNamespace(dataloader=Runner.build_dataloader(cfg[f'{part}_dataloader'], seed=0))
        for part in ('train', 'val', 'test')
    }
    loops['val_loop'].test_loop = loops['test_loop']
    return SimpleNamespace(cfg=cfg, model=built, work_dir=cfg.work_dir, logger=getLogger('features'), **loops)


def test_features_are_computed_again_where_anything_that_makes_them_differs(data, base, tmp_path):
    def computed(**changes) -> int:
        cfg = config(data, base, tmp_path)
        cfg.model.data_preprocessor.mean = changes.get('mean', cfg.model.data_preprocessor.mean)
        for part in ('train', 'val', 'test'):
            cfg[f'{part}_dataloader'].dataset.pipeline[1].scale = changes.get('scale', SIZE)
        cfg.test_dataloader.dataset.ann_file = changes.get('ann_file', 'test.txt')
        runner = parts(cfg, changes.get('base', base))
        with mock.patch.object(module, '_compute', wraps=module._compute) as compute:
            FrozenFeaturesHook(str(tmp_path / 'shared')).before_train(runner)
        return compute.call_count

    other = tmp_path / 'other.pth'
    weights = torch.load(base, weights_only=True)
    weights['backbone.layer4.1.bn2.bias'][0] += 0.1
    torch.save(weights, other)
    assert [computed(), computed()] == [3, 0]
    assert [computed(ann_file='val.txt'), computed()] == [1, 1]
    assert computed(base=other) == computed(mean=[100.0] * 3) == computed(scale=40) == 3
    assert [computed(), computed()] == [3, 0]
    path = tmp_path / 'shared' / 'val.pt'
    path.write_bytes(path.read_bytes()[:1000])  # what a full disk leaves
    assert [computed(), computed()] == [1, 0]


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        (dict(frozen_stages=3), r'backbone\.layer4\.0\.conv1\.weight is trained; set frozen_stages=4'),
        (dict(type='ImageClassifier'), 'gives features to a FeatureClassifier, and the model is a ImageClassifier'),
    ],
)
def test_what_is_not_frozen_is_one_sentence(data, base, tmp_path, changes, sentence):
    cfg = config(data, base, tmp_path)
    if 'type' in changes:
        cfg.model.type = changes['type']
    else:
        cfg.model.backbone.update(changes)
    with pytest.raises(ConfigError, match=sentence):
        FrozenFeaturesHook().before_train(parts(cfg, base))


def test_a_pipeline_with_a_step_that_draws_or_is_not_known_is_left_alone(data, base, tmp_path):
    plain = config(data, base, tmp_path).val_dataloader.dataset
    assert always_the_same(DATASETS.build(plain))
    for step in FLIP[0], dict(type='ColorJitter', brightness=0.4), dict(type='RandomResizedCrop', scale=SIZE):
        assert not always_the_same(DATASETS.build(dict(plain, pipeline=[*LOAD, step, *PACK])))
    assert not always_the_same(DATASETS.build(dict(type='RepeatDataset', times=2, dataset=plain)))


def test_samples_are_those_of_the_images(data, base, tmp_path):
    images = DATASETS.build(config(data, base, tmp_path).val_dataloader.dataset)
    with_features = FeatureSet(images, torch.arange(7.0)[:, None])
    for index in range(7):
        one, other = with_features[index]['data_samples'], images[index]['data_samples']
        assert one.gt_label == other.gt_label and one.img_path == other.img_path
        assert with_features[index]['inputs'] == index


def _val_features(data, base, path):
    runner = parts(config(data, base, path.parent), base)
    return module.features_of(runner.model, runner.val_loop.dataloader, path, 'key')


def _one_of_two(rank, folder, data, base):
    # A fork of a process whose threads have run would wait for them.
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    found, computed = _val_features(data, base, folder / 'two.pt')
    torch.save((found.clone(), computed), folder / f'{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_work_and_have_all_of_it(data, base, tmp_path, monkeypatch):
    """Seven images, so that one process has more of them."""
    monkeypatch.chdir(tmp_path)
    torch.multiprocessing.start_processes(_one_of_two, (tmp_path, data, base), 2, start_method='fork')
    alone, _ = _val_features(data, base, tmp_path / 'alone.pt')
    assert alone.shape == (7, 64) and alone.std(0).max() > 0.01
    for rank in range(2):
        found, computed = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert computed and torch.allclose(found, alone, atol=1e-5)
