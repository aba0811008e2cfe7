"""Drift of a backbone between checkpoints: closed forms, real trainings, every layout, and wrong input."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from conftest import write_detector
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.registry import init_default_scope
from rethink.analysis import drift
from rethink.errors import ConfigError

register_all_modules(init_default_scope=False)


def save(path, weights, prefix='backbone.'):
    path.parent.mkdir(exist_ok=True)
    torch.save(dict(state_dict={f'{prefix}{key}': value for key, value in weights.items()}), path)
    return path


def tiny(random=0) -> dict[str, torch.Tensor]:
    """A stem, two stages, a norm with statistics, and what a detector's checkpoint has beside them."""
    make = torch.Generator().manual_seed(random)
    return {
        'conv1.weight': torch.randn(4, 3, 3, 3, generator=make),
        'bn1.weight': torch.ones(4),
        'bn1.bias': torch.zeros(4),
        'bn1.running_mean': torch.zeros(4),
        'bn1.running_var': torch.ones(4),
        'bn1.num_batches_tracked': torch.tensor(7),
        'layer1.0.conv1.weight': torch.randn(8, 4, 1, 1, generator=make),
        'layer1.0.conv2.weight': torch.randn(8, 8, 3, 3, generator=make),
        'layer2.0.conv1.weight': torch.randn(8, 8, 1, 1, generator=make),
        'layer2.0.conv1.bias': torch.randn(8, generator=make),
    }


def compare(folder, before, after, **prefixes):
    first = save(folder / 'before.pth', before, prefixes.get('first', 'backbone.'))
    second = save(folder / 'after.pth', after, prefixes.get('second', 'backbone.'))
    (found,) = drift.read(first, [second])
    return found


# --- closed forms ----------------------------------------------------------------------------------------------------


def test_closed_forms(tmp_path):
    before, after = tiny(), tiny()
    # Scaled by 1.25, which float32 holds exactly; a step of half the norm to the side; turned around.
    after['layer1.0.conv1.weight'] = 1.25 * before['layer1.0.conv1.weight']
    old = before['layer1.0.conv2.weight'].double().flatten()
    side = torch.randn(len(old), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    side -= (side @ old) / (old @ old) * old
    step = 0.5 * old.norm() / side.norm() * side
    after['layer1.0.conv2.weight'] = (old + step).reshape(8, 8, 3, 3)
    after['layer2.0.conv1.weight'] = -before['layer2.0.conv1.weight']
    after['layer2.0.conv1.bias'] = -before['layer2.0.conv1.bias']
    after['bn1.bias'] = torch.full((4,), 0.5)
    after['bn1.running_var'] = torch.tensor([1.0, 1, 1, 3])
    after['bn1.running_mean'] = torch.ones(4)
    after['bn1.num_batches_tracked'] = torch.tensor(9)
    found = compare(tmp_path, before, after)

    layers = {(layer.name, layer.kind): layer for layer in found.layers}
    assert {key: layer.stage for key, layer in layers.items()} == {
        ('conv1', 'weights'): 'stem',
        ('bn1', 'affine'): 'stem',
        ('bn1', 'mean'): 'stem',
        ('bn1', 'variance'): 'stem',
        ('layer1.0.conv1', 'weights'): 'layer1',
        ('layer1.0.conv2', 'weights'): 'layer1',
        ('layer2.0.conv1', 'weights'): 'layer2',
    }
    wanted = {
        ('conv1', 'weights'): (0, 1),
        # Of (1, 1, 1, 1, 0, 0, 0, 0) to (1, 1, 1, 1, ½, ½, ½, ½).
        ('bn1', 'affine'): (0.5, 4 / math.sqrt(4 * 5)),
        ('bn1', 'mean'): (math.nan, math.nan),
        ('bn1', 'variance'): (1, 6 / math.sqrt(4 * 12)),
        ('layer1.0.conv1', 'weights'): (0.25, 1),
        ('layer1.0.conv2', 'weights'): (0.5, 1 / math.sqrt(1.25)),
        ('layer2.0.conv1', 'weights'): (2, -1),
    }
    for key, (relative, cosine) in wanted.items():
        np.testing.assert_allclose((layers[key].relative, layers[key].cosine), (relative, cosine), atol=1e-12)
    assert layers['conv1', 'weights'].relative == 0 and layers['conv1', 'weights'].cosine == 1
    assert layers['layer2.0.conv1', 'weights'].size == 72

    # A stage is its layers' vectors behind each other.
    stage = found.stages('weights')['layer1']
    vectors = [
        torch.cat([weights[f'layer1.0.{name}.weight'].double().flatten() for name in ('conv1', 'conv2')])
        for weights in (before, after)
    ]
    np.testing.assert_allclose(stage.relative, (vectors[1] - vectors[0]).norm() / vectors[0].norm())
    np.testing.assert_allclose(stage.cosine, torch.nn.functional.cosine_similarity(*vectors, 0))
    assert list(found.stages('weights')) == ['stem', 'layer1', 'layer2']
    every = [torch.cat([w[key].double().flatten() for key in w if 'conv' in key]) for w in (before, after)]
    np.testing.assert_allclose(found.whole('weights').relative, (every[1] - every[0]).norm() / every[0].norm())

    text = drift.words(found)
    assert 'layer2 most (2.0000) and stem least (0.0000); their cosine is' in text
    assert 'lowest in layer2 (-1.0000).' in text and 'BN: running variance moved by 1.0000' in text
    assert '| stem | 0 | 0.5000 | – | 1.0000 | 1 |' in drift.table(found)


def test_half_precision_is_compared_in_double(tmp_path):
    before = {key: value for key, value in tiny().items() if value.is_floating_point()}
    half = {key: value.half() for key, value in before.items()}
    found = compare(tmp_path, half, {key: value.double() for key, value in half.items()})
    assert not found.moved
    found = compare(tmp_path, before, half)
    # Rounding to 11 bits is a relative change of at most 2^-11.
    assert 0 < found.whole('weights').relative < 2**-11


# --- real trainings --------------------------------------------------------------------------------------------------


def test_a_fine_tuned_run_moves_and_a_frozen_one_does_not(tmp_path, data, run_in_process):
    """Two iterations of the tools' own training from one initialisation, a part of it frozen and all of it."""
    init_default_scope('mmdet')
    config = write_detector(tmp_path / 'tiny.py', data)
    backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, num_stages=3)
    backbone |= dict(strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(1, 2))
    torch.manual_seed(0)
    model = MODELS.build(backbone)
    model.init_weights()
    weights = model.state_dict()
    for key in weights:
        # Zero in a fresh ResNet, which would hold back the gradient of all in front of it.
        if key.endswith('bn2.weight'):
            weights[key] = torch.ones_like(weights[key])
    start = save(tmp_path / 'start.pth', weights)
    runs = dict(
        finetune_half=['model.backbone.frozen_stages=1'],
        freeze_all=['model.backbone.type=FrozenBackbone', 'model.backbone.of=ResNet'],
    )
    for name, options in runs.items():
        code, printed = run_in_process(
            'train.py', config, '--work-dir', tmp_path / name, '--cfg-options', f'load_from={start}', *options,
            *('train_cfg.max_iters=2', 'train_cfg.val_interval=2', f'experiment_name={name}'),
        )  # fmt: skip
        assert code in (None, 0), printed
    found = drift.read(start, [tmp_path / name / 'iter_2.pth' for name in runs])
    half, frozen = found
    assert [one.name for one in found] == list(runs)
    for layer in half.layers:
        assert (layer.change > 0) == (layer.stage in ('layer2', 'layer3')), layer
    assert not frozen.moved and all(layer.relative == 0 and layer.cosine == 1 for layer in frozen.layers)
    assert 'nothing moved' in drift.words(frozen) and 'Bit for bit as before: stem, layer1.' in drift.words(half)
    assert half.kinds == list(drift.KINDS) and half.whole('weights').relative < 1

    # A frozen run's checkpoint can stand for the initialisation.
    (same,) = drift.read(tmp_path / 'freeze_all/iter_2.pth', [tmp_path / 'finetune_half/iter_2.pth'])
    assert [vars(layer) for layer in same.layers] == [vars(layer) for layer in half.layers]

    code, printed = run_in_process(
        'analysis_tools/drift.py',
        start,
        *(tmp_path / name / 'iter_2.pth' for name in runs),
        '--out-dir',
        tmp_path / 'out',
    )
    assert code in (None, 0) and drift.table(half) in printed and drift.words(frozen) in printed
    with open(tmp_path / 'out/drift.csv') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(half.layers)
    weights = [row for row in rows[: len(half.layers)] if row['kind'] == 'weights']
    assert [float(row['relative']) for row in weights] == [layer.relative for layer in half.of('weights')]
    content = json.loads((tmp_path / 'out/drift.json').read_text())
    assert content['stages']['finetune_half']['weights']['layer1'] == dict(relative=0.0, cosine=1.0)
    assert content['stages']['finetune_half']['mean']['all']['relative'] is None  # zero before
    assert {file.name for file in (tmp_path / 'out').iterdir()} == {
        f'drift.{suffix}' for suffix in ('md', 'csv', 'json', 'png', 'svg')
    }


# --- layouts and architectures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('cfg', 'stages'),
    [
        (dict(type='mmpretrain.EfficientNet', arch='b0'), [f'layers.{at}' for at in range(7)]),
        (
            dict(type='SwinTransformer', embed_dims=24, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8), window_size=4),
            ['stem', *(f'stages.{at}' for at in range(4)), 'last'],
        ),
        (
            dict(type='mmpretrain.TIMMBackbone', model_name='resnet18', features_only=True),
            ['stem', *(f'layer{at}' for at in range(1, 5))],
        ),
    ],
    ids=['efficientnet', 'swin', 'timm'],
)
def test_other_backbones(tmp_path, cfg, stages):
    if 'TIMM' in cfg['type']:
        pytest.importorskip('timm')
    init_default_scope('mmdet')
    weights = MODELS.build(cfg).state_dict()
    moved = {key: value * 1.5 if value.is_floating_point() else value for key, value in weights.items()}
    found = compare(tmp_path, weights, moved)
    assert list(dict.fromkeys(layer.stage for layer in found.layers)) == stages
    assert sum(layer.size for layer in found.layers) == sum(
        value.numel() for value in weights.values() if value.is_floating_point()
    )
    for layer in found.layers:
        if layer.norm:
            np.testing.assert_allclose((layer.relative, layer.cosine), (0.5, 1), rtol=1e-6)
    assert not compare(tmp_path, weights, weights).moved


def test_a_classifiers_own_file_and_what_a_detector_adds(tmp_path):
    """timm's file against a detector with it inside; a torchvision file; new norms and adapters; a stage left away."""
    weights = tiny()
    classifier = weights | {'fc.weight': torch.randn(5, 8), 'layer3.0.conv1.weight': torch.randn(8, 8, 1, 1)}
    detector = {f'timm_model.{key}': value for key, value in weights.items()}
    detector['timm_model.layer1.0.conv1.adapter.weight'] = torch.zeros(8, 4, 1, 1)
    found = compare(tmp_path, classifier, detector, first='')
    assert not found.moved and found.new == ['layer1.0.conv1.adapter.weight']
    assert found.dropped == ['layer3.0.conv1.weight']
    assert 'new: ' in drift.words(found) and "gone: 'layer3.0.conv1.weight'" in drift.words(found)

    plain = {
        key.replace('conv1', 'conv_stem') if key == 'conv1.weight' else key: value for key, value in tiny().items()
    }
    classifier = plain | {'classifier.weight': torch.randn(5, 8)}
    found = compare(
        tmp_path, classifier, plain | {'norm3.weight': torch.ones(8), 'norm3.bias': torch.ones(8)}, first=''
    )
    assert not found.moved and found.dropped == ['classifier.weight'] and found.new == ['norm3.weight', 'norm3.bias']


# --- wrong input -----------------------------------------------------------------------------------------------------


def test_wrong_input(tmp_path):
    def refused(before, after, **prefixes) -> str:
        with pytest.raises(ConfigError) as error:
            compare(tmp_path, before, after, **prefixes)
        assert '\n' not in str(error.value)
        return str(error.value)

    whole = tiny()
    part = {key: value for key, value in whole.items() if not key.startswith('layer2')}
    assert 'does not cover the backbone of' in refused(part, whole)
    assert "lacks 2 of 9 tensors ('layer2.0.conv1.bias', 'layer2.0.conv1.weight')" in refused(part, whole)
    deeper = whole | {'layer1.1.conv1.weight': torch.ones(8, 8, 1, 1)}
    assert 'in the stages of' in refused(deeper, whole) and "'layer1.1.conv1.weight'" in refused(deeper, whole)
    wider = whole | {'layer1.0.conv1.weight': torch.ones(16, 4, 1, 1)}
    assert '1 of the 9 tensors' in refused(whole, wider) and '(8, 4, 1, 1) and (16, 4, 1, 1)' in refused(whole, wider)
    other = {f'blocks.{key}': value for key, value in whole.items()}
    assert 'share no tensor' in refused(whole, other) and 'That of a frozen run' in refused(whole, other)
    broken = whole | {'layer1.0.conv1.weight': torch.full((8, 4, 1, 1), math.inf)}
    assert 'layer1.0.conv1.weight has 32 of 32 values that are not finite' in refused(whole, broken)
    assert 'no weights of a backbone' in refused({'head.weight': torch.ones(3, dtype=torch.int64)}, whole, first='')


def test_wrong_files(tmp_path, run_in_process):
    good = save(tmp_path / 'a.pth', tiny())
    for given, message in (
        ((good, good), 'is named twice'),
        ((good, tmp_path / 'none.pth'), 'does not exist'),
        (('torchvision://resnet50', good), 'is not a local file'),
    ):
        with pytest.raises(ConfigError, match=message):
            drift.read(given[0], given[1:])
    (tmp_path / 'text.pth').write_text('no checkpoint')
    code, printed = run_in_process(
        'analysis_tools/drift.py', good, tmp_path / 'text.pth', '--out-dir', tmp_path / 'out'
    )
    assert code == 2 and printed.count('error: ') == 1 and not (tmp_path / 'out').exists()


# --- figure ----------------------------------------------------------------------------------------------------------


def test_the_picture_has_a_line_for_each_checkpoint_in_the_order_of_depth(tmp_path, monkeypatch):
    before, after = tiny(), tiny()
    after['layer1.0.conv1.weight'] = 1.25 * before['layer1.0.conv1.weight']
    paths = [save(tmp_path / name / 'last.pth', one) for name, one in (('freeze_x', before), ('finetune_x', after))]
    found = drift.read(save(tmp_path / 'before.pth', before), paths)
    kept = []
    monkeypatch.setattr(drift.plt, 'close', kept.append)
    drift.draw(found, tmp_path / 'drift')
    monkeypatch.undo()
    (figure,) = kept
    assert len(figure.axes) == 4
    frozen, tuned = (line.get_ydata() for line in figure.axes[0].get_lines()[:2])
    np.testing.assert_array_equal(frozen, [0, 0, 0, 0])
    np.testing.assert_allclose(tuned, [0, 0.25, 0, 0])
    assert [text.get_text() for text in figure.axes[0].texts] == ['stem', 'layer1', 'layer2']
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['freeze_x', 'finetune_x']
    drift.plt.close(figure)
