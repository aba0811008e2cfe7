"""Minimax entropy: both gradients against the two objectives taken apart, head, batch and several processes."""

import math
import socket

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from rethink.models.mme import reverse_gradient
from torch import nn

register_all_modules(init_default_scope=False)
CLASSES, WEIGHT, TEMPERATURE = 3, 0.1, 0.05


@pytest.fixture(autouse=True)
def scope():
    """Whatever scope the tests before have left."""
    init_default_scope('mmpretrain')


def build(seed: int = 0, norm: dict | None = None, **more) -> nn.Module:
    """An MME of a ResNet-18 of 8 channels, with weights that make its scores differ."""
    model = MODELS.build(
        dict(
            type='MME',
            data_preprocessor=dict(mean=[127.0] * 3, std=[64.0] * 3),
            backbone=dict(
                type='ResNet',
                depth=18,
                base_channels=8,
                stem_channels=8,
                norm_cfg=norm or dict(type='GN', num_groups=4),
                zero_init_residual=False,
            ),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='CosineClsHead', num_classes=CLASSES, in_channels=64),
            **more,
        )
    )
    torch.manual_seed(seed)
    model.init_weights()
    with torch.no_grad():
        model.head.fc.weight.normal_(std=0.1)
    return model


def batch(labels, seed: int = 1, dtype=torch.float32) -> tuple[torch.Tensor, list[DataSample]]:
    """Images of 16 pixels, one for each label; None has no label."""
    inputs = torch.randn(len(labels), 3, 16, 16, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return inputs, [DataSample() if label is None else DataSample().set_gt_label(label) for label in labels]


MIXED = [None, 2, None, 0, 1, None, None]


def gradients(value: torch.Tensor, module: nn.Module) -> dict[str, torch.Tensor]:
    names, parameters = zip(*module.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return dict(zip(names, found, strict=True))


def objectives(model: nn.Module, inputs: torch.Tensor, labels) -> tuple[torch.Tensor, torch.Tensor]:
    """L and H of equation 3, written out, each with its ordinary gradient."""
    features = model.backbone(inputs)[-1].mean(dim=(2, 3))
    scores = features @ model.head.fc.weight.T / features.norm(dim=1, keepdim=True) / TEMPERATURE
    p = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    known = [index for index, label in enumerate(labels) if label is not None]
    unknown = [index for index, label in enumerate(labels) if label is None]
    cross_entropy = -torch.stack([p[index, labels[index]].log() for index in known]).mean()
    entropy = -(p[unknown] * p[unknown].log()).sum(dim=1).mean()
    return cross_entropy, entropy


@pytest.mark.parametrize('weight', [WEIGHT, 0.7])
def test_the_classifier_descends_l_minus_h_and_the_features_l_plus_h(weight):
    model = build(entropy_weight=weight).double().train()
    inputs, samples = batch(MIXED, dtype=torch.float64)
    total, logged = model.parse_losses(model.loss(inputs, samples))
    cross_entropy, entropy = objectives(model, inputs, MIXED)
    assert torch.isclose(logged['loss_labelled'], cross_entropy)
    assert torch.isclose(logged['loss_entropy'], -weight * entropy)
    assert torch.isclose(logged['entropy'], entropy) and 0 < entropy < math.log(CLASSES)
    assert torch.isclose(total, cross_entropy - weight * entropy), 'entropy itself is only logged'
    for module, sign in ((model.head, -1), (model.backbone, 1)):
        found = gradients(total, module)
        ours, theirs = gradients(cross_entropy, module), gradients(entropy, module)
        assert sum(one.abs().sum() for one in theirs.values()) > 0.1, 'the sign can be seen'
        for name, gradient in found.items():
            wanted = ours[name] + sign * weight * theirs[name]
            assert torch.allclose(gradient, wanted, rtol=1e-9, atol=1e-12), name


def test_a_step_on_the_entropy_alone_lowers_it_through_the_features_and_raises_it_through_the_classifier():
    inputs, samples = batch(MIXED, dtype=torch.float64)
    for part, sign in (('head', 1), ('backbone', -1)):
        model = build().double().train()
        losses = model.loss(inputs, samples)
        before = losses['entropy']
        parameters = list(getattr(model, part).parameters())
        found = torch.autograd.grad(losses['loss_entropy'], parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, found, strict=True):
                parameter -= 1e-3 * gradient
        after = model.loss(inputs, samples)['entropy']
        assert sign * (after - before) > 1e-6, part


def test_the_reversed_gradient_is_minus_the_gradient():
    inputs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, dtype=torch.float64)
    assert torch.equal(reverse_gradient(inputs), inputs)
    (plain,) = torch.autograd.grad((inputs**2 * weight).sum(), inputs)
    (found,) = torch.autograd.grad((reverse_gradient(inputs) ** 2 * weight).sum(), inputs)
    assert torch.equal(found, -plain)


def test_the_head_sees_directions_of_features_and_keeps_the_length_of_weights():
    head = build().head
    assert head.fc.bias is None
    features = torch.randn(5, 64)
    scores = head((features,))
    cosine = nn.functional.cosine_similarity(features[:, None], head.fc.weight[None], dim=2)
    assert torch.allclose(scores, cosine * head.fc.weight.norm(dim=1) / TEMPERATURE, atol=1e-5)
    assert torch.allclose(head((1000 * features,)), scores, atol=1e-4)
    assert head((torch.zeros(1, 64),)).abs().max() == 0, 'no feature, no score and no NaN'


def test_entropy_of_a_uniform_and_of_a_certain_prediction():
    model = build()
    inputs, samples = batch(MIXED)
    nn.init.zeros_(model.head.fc.weight)
    losses = model.loss(inputs, samples)
    assert losses['entropy'].item() == pytest.approx(math.log(CLASSES), abs=1e-6)
    assert losses['loss_entropy'].item() == pytest.approx(-WEIGHT * math.log(CLASSES), abs=1e-6)
    # One class whose scores are 1000 above the others', as the features are positive behind the last ReLU.
    model.head.fc.weight.data[0] = 1000
    losses = model.loss(inputs, samples)
    losses['loss_entropy'].backward()
    assert losses['entropy'].item() == pytest.approx(0, abs=1e-6)
    assert all(torch.isfinite(one.grad).all() for one in model.parameters())


def test_scores_are_float32_in_mixed_precision():
    model = build()
    features = torch.randn(4, 64).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        scores = model.head((features,))
        losses = model.loss(*batch(MIXED))
    assert scores.dtype == torch.float32
    assert torch.equal(scores, model.head((features.float(),)))
    assert all(value.dtype == torch.float32 for value in losses.values())
    exact = model.loss(*batch(MIXED))
    assert losses['entropy'].item() == pytest.approx(exact['entropy'].item(), abs=0.05)
    sum(losses.values()).backward()


def test_the_preprocessor_normalises_all_images_and_keeps_who_has_a_label():
    model = build()
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8)
    samples = [DataSample(), DataSample().set_gt_label(2), DataSample()]
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)
    assert torch.allclose(data['inputs'], (images.float() - 127) / 64)
    assert ['gt_label' in sample for sample in data['data_samples']] == [False, True, False]
    assert data['data_samples'][1].gt_label.tolist() == [2]
    none = model.data_preprocessor(dict(inputs=list(images), data_samples=[DataSample() for _ in images]))
    assert none['inputs'].shape == (3, 3, 8, 8) and len(none['data_samples']) == 3


@pytest.mark.parametrize('labels', [[0, 1], [None, None]])
def test_a_batch_of_one_kind_is_refused(labels):
    known = sum(label is not None for label in labels)
    with pytest.raises(ValueError, match=f'{known} labelled and {len(labels) - known} unlabelled.*sampler.batch_size'):
        build().loss(*batch(labels))


def test_predictions_are_those_of_the_head():
    model = build().eval()
    inputs, samples = batch([0, 1])
    with torch.no_grad():
        found = model.predict(inputs, samples)
        scores = model.head(model.extract_feat(inputs)).softmax(dim=1)
    assert torch.allclose(torch.stack([sample.pred_score for sample in found]), scores)


def _one_process(rank: int, port: int, folder: str) -> None:
    from mmengine.model import MMDistributedDataParallel

    torch.distributed.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    model = MMDistributedDataParallel(build().double(), broadcast_buffers=False)
    halves = batch([0, 1, None, None], 1, torch.float64), batch([2, 0, None, None], 2, torch.float64)
    total, _ = model.module.parse_losses(model(*halves[rank], mode='loss'))
    total.backward()
    if rank == 0:
        torch.save({name: one.grad for name, one in model.module.named_parameters()}, f'{folder}/grad.pth')
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradient_of_the_doubled_batch(tmp_path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_one_process, (port, str(tmp_path)), nprocs=2)
    found = torch.load(tmp_path / 'grad.pth')
    model = build().double()
    (first, one), (second, other) = batch([0, 1, None, None], 1, torch.float64), batch([2, 0, None, None], 2)
    total, _ = model.parse_losses(model.loss(torch.cat([first, second.double()]), one + other))
    total.backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-9, atol=1e-12), name
