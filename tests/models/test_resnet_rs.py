"""ResNet-RS from a checkpoint in TF Vision's layout, against the network written out in its terms."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from rethink.errors import ConfigError
from rethink.models.resnet_rs import read_tf_vision, to_timm
from torch.nn import functional as F

DEPTHS, WIDTHS = (3, 4, 6, 3), (64, 128, 256, 512)  # of ResNet-RS-50


@pytest.fixture(scope='module')
def variables():
    """What TF Vision saves of a classifier, by path: backbone, classifier, and what the optimiser keeps."""
    rng = np.random.default_rng(0)
    found = {}

    def conv(path, size, inputs, outputs, bias=False):
        scale = (2 / (size * size * inputs)) ** 0.5
        found[f'{path}/kernel'] = rng.normal(0, scale, (size, size, inputs, outputs)).astype(np.float32)
        if bias:
            found[f'{path}/bias'] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def norm(path, channels):
        for name, (mean, scale) in dict(gamma=(0.8, 0.1), beta=(0, 0.1), moving_mean=(0, 0.1)).items():
            found[f'{path}/{name}'] = rng.normal(mean, scale, channels).astype(np.float32)
        found[f'{path}/moving_variance'] = rng.uniform(0.5, 1.5, channels).astype(np.float32)

    layers = iter(f'backbone/layer_with_weights-{index}' for index in range(100))
    for inputs, outputs in ((3, 32), (32, 32), (32, 64), (64, 64)):
        conv(next(layers), 3, inputs, outputs)
        norm(next(layers), outputs)
    inputs = 64
    for depth, width in zip(DEPTHS, WIDTHS, strict=True):
        for block in range(depth):
            path = next(layers)
            if block == 0:
                conv(f'{path}/_shortcut1', 1, inputs, 4 * width)
                norm(f'{path}/_norm0', 4 * width)
            shapes = ((1, inputs, width), (3, width, width), (1, width, 4 * width))
            for index, (size, before, after) in enumerate(shapes, 1):
                conv(f'{path}/_conv{index}', size, before, after)
                norm(f'{path}/_norm{index}', after)
            conv(f'{path}/_squeeze_excitation/_se_reduce', 1, 4 * width, width, bias=True)
            conv(f'{path}/_squeeze_excitation/_se_expand', 1, width, 4 * width, bias=True)
            inputs = 4 * width
    conv('model/layer_with_weights-1', 1, 2048, 1001, bias=True)
    kernel = found['backbone/layer_with_weights-0/kernel']
    found['backbone/layer_with_weights-0/kernel/.OPTIMIZER_SLOT/optimizer/average'] = 0 * kernel
    found['optimizer/iter'] = np.asarray(109200)
    return found


def same(x, size, stride):
    """TensorFlow's padding "same": what is odd goes behind."""
    total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
    before = [one // 2 for one in total]
    return F.pad(x, (before[1], total[1] - before[1], before[0], total[0] - before[0]))


def network(variables, image, eps):
    """TF Vision's maps of its ResNet-RS-50 with swish, in float64: layers/nn_blocks.py, backbones/resnet.py."""
    value = {name: torch.from_numpy(np.asarray(one, dtype=np.float64)) for name, one in variables.items()}

    def conv(path, x, stride=1):
        kernel = value[f'{path}/kernel']
        weight = torch.stack([kernel[..., out].permute(2, 0, 1) for out in range(kernel.shape[3])])
        return F.conv2d(same(x, kernel.shape[0], stride), weight, value.get(f'{path}/bias'), stride=stride)

    def norm(path, x):
        scale, shift, mean, variance = (
            value[f'{path}/{name}'][:, None, None] for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')
        )
        return scale * (x - mean) / (variance + eps).sqrt() + shift

    def swish(x):
        return x / (1 + torch.exp(-x))

    def mean_pool(x, stride):
        inside = same(torch.ones_like(x), 2, stride)
        return F.avg_pool2d(same(x, 2, stride), 2, stride) / F.avg_pool2d(inside, 2, stride)

    layers = iter(f'backbone/layer_with_weights-{index}' for index in range(100))
    x = image
    for stride in (2, 1, 1, 2):
        x = conv(next(layers), x, stride)
        x = swish(norm(next(layers), x))
    maps = []
    for stage, depth in enumerate(DEPTHS):
        for block in range(depth):
            path = next(layers)
            stride = 2 if stage and not block else 1
            shortcut = x
            if block == 0:
                shortcut = norm(f'{path}/_norm0', conv(f'{path}/_shortcut1', mean_pool(x, stride)))
            x = swish(norm(f'{path}/_norm1', conv(f'{path}/_conv1', x)))
            x = swish(norm(f'{path}/_norm2', conv(f'{path}/_conv2', x, stride)))
            x = norm(f'{path}/_norm3', conv(f'{path}/_conv3', x))
            gate = conv(f'{path}/_squeeze_excitation/_se_reduce', x.mean((2, 3), keepdim=True)).relu()
            x = swish(x * conv(f'{path}/_squeeze_excitation/_se_expand', gate).sigmoid() + shortcut)
        maps.append(x)
    return maps


def backbone(tmp_path, weights, name='freeze_rs101_nasfpn_cascade_72e'):
    """The backbone of a config, as ResNet-RS-50, with the weights that it finds in a file."""
    register_all_modules()
    cfg = Config.fromfile(ROOT / f'configs/frozen/{name}.py').model.backbone
    file = tmp_path / 'weights.pth'
    torch.save(dict(state_dict=weights), file)
    cfg.update(model_name='resnetrs50', norm_cfg=dict(cfg.norm_cfg, type='BN'))
    cfg.init_cfg.checkpoint = str(file)
    built = MODELS.build(cfg)
    built.init_weights()
    return built.double().eval()


def test_a_converted_checkpoint_computes_what_tf_vision_does(variables, tmp_path):
    model = backbone(tmp_path, to_timm(variables, 'resnetrs50'))
    assert not model.not_given
    image = torch.randn(1, 3, 64, 51, dtype=torch.float64)
    with torch.no_grad():
        found = model(image)
    for one, expected in zip(found, network(variables, image, eps=1e-4), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-9, atol=1e-9)
    # ReLU, symmetric padding and no pooling in the first stage are another network.
    other = backbone(tmp_path, to_timm(variables, 'resnetrs50'), 'freeze_rs101_retinanet_fpn_72e')
    with torch.no_grad():
        assert not torch.allclose(other(image)[0], found[0], rtol=0.1)


def test_each_weight_of_a_classifier_has_its_place(variables):
    import timm

    found = to_timm(variables, 'resnetrs50')
    own = timm.create_model('resnetrs50').state_dict()
    left = {key for key in own if key not in found and 'num_batches' not in key}
    assert left == {'fc.weight', 'fc.bias'} and not found.keys() - own.keys()
    stem = variables['backbone/layer_with_weights-0/kernel']
    assert found['conv1.0.weight'][5, 2, 0, 1] == stem[0, 1, 2, 5], 'and not the running average'


@pytest.mark.parametrize(
    'change, sentence',
    [
        (lambda all: all.clear(), 'is no ResNet-RS of TF Vision'),
        (
            lambda all: all.pop('backbone/layer_with_weights-12/_norm2/beta'),
            'no backbone/.*-12/_norm2/beta, which res',
        ),
        (
            lambda all: all.update({'backbone/layer_with_weights-24/_conv1/kernel': 0}),
            '1 variables that resnetrs50 has',
        ),
        (lambda all: all.update({'backbone/layer_with_weights-1/beta': np.zeros(7)}), r'is \(7,\), and .* \(32,\)'),
        (lambda all: all.update({'backbone/layer_with_weights-1/beta': np.full(32, np.nan)}), 'not finite'),
    ],
)
def test_another_checkpoint_is_refused(variables, change, sentence):
    changed = dict(variables)
    change(changed)
    with pytest.raises(ConfigError, match=sentence):
        to_timm(changed, 'resnetrs50')


def test_without_tensorflow_one_sentence_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    with pytest.raises(ConfigError, match='TensorFlow, which is not installed; `pip install tensorflow-cpu`'):
        read_tf_vision('resnet-rs-101-i192')


@pytest.mark.long
def test_a_checkpoint_that_tensorflow_has_written_is_read(variables, tmp_path):
    import tensorflow as tf

    class Node(tf.Module):
        pass

    root = Node()
    for path, value in variables.items():
        node = root
        *parents, last = path.split('/')
        if '.OPTIMIZER_SLOT' in path or path == 'optimizer/iter':
            continue
        for name in parents:
            if not hasattr(node, name):
                setattr(node, name, Node())
            node = getattr(node, name)
        setattr(node, last, tf.Variable(value))
    tf.train.Checkpoint(backbone=root.backbone, model=root.model).save(str(tmp_path / 'ckpt'))
    read = read_tf_vision(str(tmp_path))
    expected = {path for path in variables if path.startswith(('backbone/', 'model/')) and 'SLOT' not in path}
    assert expected <= read.keys()
    for one, other in zip(
        to_timm(read, 'resnetrs50').values(), to_timm(variables, 'resnetrs50').values(), strict=True
    ):
        assert torch.equal(one, other)
    with pytest.raises(ConfigError, match='no checkpoint of TensorFlow that can be read'):
        read_tf_vision(str(tmp_path / 'nothing'))


def test_the_tool_ends_in_the_sentence(run_in_process, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    code, printed = run_in_process('model_converters/resnet_rs.py', tmp_path, tmp_path / 'out.pth')
    assert code == 2 and 'is a checkpoint of TensorFlow, which is not installed' in printed
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('init', ['finetune', 'freeze'])
def test_without_the_converted_file_no_training_begins(init, tmp_path, monkeypatch):
    from rethink.checks.weights import check_weights

    register_all_modules()
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(ROOT / f'configs/frozen/{init}_rs101_nasfpn_cascade_72e.py')
    assert 'tools/model_converters/resnet_rs.py' in Path(cfg.filename).read_text()
    backbone = MODELS.build(cfg.model.backbone)
    with pytest.raises(ConfigError, match=r'data/weights/resnet_rs101_i192\.pth'):
        check_weights(Config(dict(model=cfg.model)), torch.nn.ModuleDict(dict(backbone=backbone)))
