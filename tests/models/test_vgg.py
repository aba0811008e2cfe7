"""VGG against torchvision's, its initialisation, and fc6 and fc7 of a classifier in a box head."""

import copy

import pytest
import torch
import torchvision
from conftest import ROOT
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rethink.checks.weights import check_weights
from rethink.errors import ConfigError
from rethink.models import VGG
from torch import nn

STAGES = (2, 2, 3, 3, 3)


def torchvision_features(width: int) -> nn.Sequential:
    """torchvision's own convolutions of VGG-16, narrower, without the last pooling."""
    plan = []
    for stage, convs in enumerate(STAGES):
        plan += [width * min(2**stage, 8)] * convs + ['M']
    return torchvision.models.vgg.make_layers(plan[:-1])


def test_parameters_are_those_of_torchvision():
    with torch.device('meta'):
        ours, theirs = VGG(), torchvision.models.vgg16(init_weights=False).features
    shapes = {key: one.shape for key, one in theirs.state_dict().items()}
    assert {key.removeprefix('features.'): one.shape for key, one in ours.state_dict().items()} == shapes
    assert len(shapes) == 2 * 13


def test_the_map_is_that_of_torchvision_at_stride_16():
    torch.manual_seed(0)
    model, theirs = VGG(base_channels=4), torchvision_features(4)
    model.init_weights()
    theirs.load_state_dict({key.removeprefix('features.'): one for key, one in model.state_dict().items()})
    images = torch.randn(2, 3, 75, 100)
    (found,) = model(images)
    assert found.shape == (2, 32, 75 // 16, 100 // 16)
    assert found.std() > 0.01
    torch.testing.assert_close(found, theirs(images))


@pytest.mark.parametrize(('stages', 'convs'), [(-1, 0), (0, 0), (1, 2), (2, 4), (5, 13)])
def test_frozen_stages(stages, convs):
    model = VGG(base_channels=2, frozen_stages=stages)
    model.init_weights()
    model.train()
    layers = [one for one in model.features if isinstance(one, nn.Conv2d)]
    assert [one.weight.requires_grad for one in layers] == [False] * convs + [True] * (13 - convs)
    assert all(one.weight.requires_grad == one.bias.requires_grad for one in layers)


def test_other_depths():
    for depth in (11, 13, 19):
        convs = [one for one in VGG(depth=depth, base_channels=2).features if isinstance(one, nn.Conv2d)]
        assert len(convs) + 3 == depth


def signal(model: VGG, images: torch.Tensor) -> list[float]:
    """The second moment of each convolution's output, before ReLU."""
    found = []
    hooks = [
        one.register_forward_hook(lambda module, given, output: found.append(output.pow(2).mean().item()))
        for one in model.features
        if isinstance(one, nn.Conv2d)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found


def natural(size: int, channels: int = 3) -> torch.Tensor:
    """An image with the spectrum of photographs, amplitude 1 / frequency, zero mean and unit variance: (1, 3, H, W).

    White noise is no stand-in for one: of four independent values the largest, which pooling keeps, has three times
    the second moment of each, and of four neighbours in a photograph little more.
    """
    rows, columns = torch.fft.fftfreq(size)[:, None], torch.fft.fftfreq(size)[None]
    amplitude = 1 / (rows**2 + columns**2).sqrt().clamp(min=1 / size)
    phases = torch.fft.fft2(torch.randn(channels, size, size))
    image = torch.fft.ifft2(phases * amplitude).real
    return ((image - image.mean()) / image.std())[None]


def test_msra_is_normal_with_variance_2_over_fan_in():
    torch.manual_seed(0)
    model = VGG()
    model.init_weights()
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * 9
            assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.06)
            # A uniform distribution of this variance ends at 1.73 standard deviations.
            assert layer.weight.abs().max() > 2.5 * (2 / fan_in) ** 0.5
            assert (layer.bias == 0).all()


@pytest.mark.parametrize(
    ('init_cfg', 'least', 'most'),
    [
        # A first layer has no ReLU before it and doubles the second moment; each of the four poolings adds a little.
        (None, 1, 12),
        # What it is against: MSRA's other form, Glorot's, and the normal distribution of the first VGG.
        (dict(type='Kaiming', mode='fan_out', layer='Conv2d'), 0, 0.1),
        (dict(type='Xavier', distribution='uniform', layer='Conv2d'), 0, 1e-3),
        (dict(type='Normal', std=0.01, layer='Conv2d'), 0, 1e-9),
    ],
)
def test_the_signal_keeps_its_size_through_13_convolutions_with_msra_alone(init_cfg, least, most):
    torch.manual_seed(0)
    model = VGG(init_cfg=init_cfg)
    model.init_weights()
    image = natural(128)
    assert image.pow(2).mean().item() == pytest.approx(1, rel=1e-3)
    found = signal(model, image)
    assert len(found) == 13
    assert least < found[-1] < most
    if init_cfg is None:
        assert all(least < one < most for one in found)


# fc6 and fc7 of the classifier in the box head.


@pytest.fixture(scope='module')
def cfg():
    """The fine-tuned config, 32 times narrower."""
    cfg = Config.fromfile(ROOT / 'configs/rethink/pretrain_vgg16_aug_9x.py')
    cfg.model.backbone.base_channels = 2
    cfg.model.rpn_head.update(in_channels=16, feat_channels=16)
    cfg.model.roi_head.bbox_roi_extractor.out_channels = 16
    cfg.model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=24)
    return cfg


def classifier(width: int = 2, hidden: int = 24) -> nn.Module:
    """torchvision's VGG-16 layer by layer, with these widths."""
    torch.manual_seed(1)
    model = nn.Module()
    model.features = torchvision_features(width)
    model.classifier = nn.Sequential(
        *(nn.Linear(width * 8 * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(hidden, 10)),
    )
    return model


def with_checkpoint(cfg: Config, file) -> Config:
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.init_cfg.checkpoint = cfg.model.roi_head.bbox_head.init_cfg[-1].checkpoint = str(file)
    return cfg


def build(cfg: Config) -> nn.Module:
    register_all_modules()
    init_default_scope('mmdet')
    return MODELS.build(cfg.model)


@pytest.fixture
def file(tmp_path):
    torch.save(classifier().state_dict(), tmp_path / 'vgg16.pth')
    return tmp_path / 'vgg16.pth'


def test_a_fine_tuned_detector_begins_as_the_classifier(cfg, file, capsys):
    theirs = classifier().eval()
    cfg = with_checkpoint(cfg, file)
    model = build(cfg)
    check_weights(cfg, model)
    printed = capsys.readouterr().out
    assert 'backbone: 26 of 26 tensors' in printed and 'bbox_head: 4 of 8 tensors' in printed
    model.init_weights()
    model.eval()
    images = torch.randn(3, 3, 112, 112)
    with torch.no_grad():
        (maps,) = model.backbone(images)
        assert maps.shape == (3, 16, 7, 7)
        torch.testing.assert_close(maps, theirs.features(images))
        head, hidden = model.roi_head.bbox_head, maps.flatten(1)
        for layer in head.shared_fcs:
            hidden = head.relu(layer(hidden))
        # Up to the last ReLU, dropout being switched off: channels, rows and columns lie in the same order.
        expected = theirs.classifier[:6](maps.flatten(1))
        torch.testing.assert_close(hidden, expected)
        assert expected.std() > 0
        logits, _ = head(maps)
        torch.testing.assert_close(logits, head.fc_cls(expected))
    assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_the_names_survive_a_config_that_is_written_and_read(cfg, file, tmp_path):
    (tmp_path / 'written.py').write_text(cfg.pretty_text)
    read = Config.fromfile(tmp_path / 'written.py')
    assert read.model.roi_head.bbox_head.init_cfg == cfg.model.roi_head.bbox_head.init_cfg


def break_(kind: str, weights: dict) -> dict:
    if kind == 'features alone':
        return {key: one for key, one in weights.items() if key.startswith('features.')}
    if kind == 'no fc7':
        return {key: one for key, one in weights.items() if not key.startswith('classifier.3.')}
    if kind == 'no bias':
        return {key: one for key, one in weights.items() if key != 'classifier.0.bias'}
    return weights | {'classifier.3.weight': torch.zeros(25, 24)}


@pytest.mark.parametrize(
    ('kind', 'sentence'),
    [
        ('features alone', r'no classifier\.0\.weight, with which shared_fcs\.0\.weight of the model begins'),
        ('no fc7', r'no classifier\.3\.weight'),
        ('no bias', r'no classifier\.0\.bias'),
        ('other width', r'classifier\.3\.weight is \(25, 24\) in the file and shared_fcs\.1\.weight \(24, 24\)'),
    ],
)
def test_a_file_that_lacks_or_does_not_fit_fc6_and_fc7(cfg, file, kind, sentence):
    torch.save(break_(kind, classifier().state_dict()), file)
    cfg = with_checkpoint(cfg, file)
    model = build(cfg)
    with pytest.raises(ConfigError, match=f'init_cfg of model.roi_head.bbox_head.*{sentence}') as caught:
        check_weights(cfg, model)
    assert '\n' not in str(caught.value)
    # What is downloaded is looked at when it is loaded.
    with pytest.raises(ConfigError, match=sentence):
        model.init_weights()


def test_values_that_are_no_numbers(cfg, file):
    weights = classifier().state_dict()
    weights['classifier.0.weight'].fill_(float('nan'))
    torch.save(dict(state_dict=weights), file)
    with pytest.raises(ConfigError, match=r'shared_fcs\.0\.weight that are not finite'):
        build(with_checkpoint(cfg, file)).init_weights()
