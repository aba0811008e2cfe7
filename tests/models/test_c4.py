"""C4 detectors: res5 on RoIs against torchvision's, and a whole backbone from one file."""

import pytest
import rethink  # noqa: F401
import torch
import torchvision
from conftest import ROOT
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from rethink.checks.weights import check_weights
from rethink.engine.hooks import InitFromBaseHook
from rethink.errors import ConfigError
from rethink.models import Res5ExtraNorm
from torch import nn

BN = dict(type='BN', requires_grad=True)


def detector(name: str = 'hpt/finetune_r50_c4_voc_24ki', **model) -> tuple[Config, nn.Module]:
    """A config, and its model in one process."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.merge_from_dict(dict(model=model))
    return cfg, revert_sync_batchnorm(MODELS.build(cfg.model))


@pytest.fixture(scope='module')
def resnet():
    """torchvision's R50, with statistics of BN that are not those of a new one."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model


@pytest.fixture(scope='module')
def base(resnet, tmp_path_factory):
    """Its weights, as MoCo's code writes those of a query."""
    file = tmp_path_factory.mktemp('base') / 'moco.pth.tar'
    weights = {f'module.encoder_q.{key}': value for key, value in resnet.state_dict().items()}
    torch.save(dict(state_dict=weights), file)
    return file


@pytest.mark.parametrize('train', [False, True])
def test_res5_is_torchvisions_last_stage_and_a_norm_behind_it(resnet, train):
    head = Res5ExtraNorm(50, BN)
    head.init_weights()
    head.layer4.load_state_dict(resnet.layer4.state_dict())
    nn.init.uniform_(head.norm.weight, 0.5, 1.5)
    nn.init.normal_(head.norm.bias)
    rois = torch.rand(3, 1024, 14, 14, generator=torch.Generator().manual_seed(1)).relu()
    resnet.layer4.train(train)
    with torch.no_grad():
        before = {key: value.clone() for key, value in resnet.layer4.state_dict().items()}
        features = resnet.layer4(rois)
        resnet.layer4.load_state_dict(before)
        wanted = torch.nn.functional.batch_norm(
            features.double(),
            head.norm.running_mean.double(),
            head.norm.running_var.double(),
            head.norm.weight.double(),
            head.norm.bias.double(),
            training=train,
        )
        found = head.train(train)(rois)
    assert found.shape == (3, 2048, 7, 7)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)
    assert head.norm.num_batches_tracked == int(train)


@pytest.mark.parametrize('depth', [18, 50])
def test_a_narrow_one_has_the_names_and_shapes_of_the_last_stage_of_a_narrow_resnet(depth):
    init_default_scope('mmdet')
    backbone = MODELS.build(dict(type='ResNet', depth=depth, base_channels=16, norm_cfg=BN))
    head = Res5ExtraNorm(depth, BN, base_channels=16)
    assert isinstance(head.layer4, ResLayer)
    assert {key: one.shape for key, one in head.layer4.state_dict().items()} == {
        key: one.shape for key, one in backbone.layer4.state_dict().items()
    }
    # Convolutions of variance 2 / fan out, scales of 1.
    head.init_weights()
    weight = head.layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.05)
    assert all((one.weight == 1).all() for one in head.modules() if isinstance(one, nn.BatchNorm2d))


def test_one_file_gives_backbone_and_res5_and_nothing_of_them_is_left_out(resnet, base, capsys):
    cfg, model = detector()
    cfg.custom_hooks[0].checkpoint = str(base)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    check_weights(cfg, model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), 'a look changes nothing'

    InitFromBaseHook(base).initialise(model)
    assert 'written by MoCo): backbone 265 of 265 tensors; the rest begins at random.' in capsys.readouterr().out
    theirs = {key: one for key, one in resnet.state_dict().items() if not key.startswith('fc.')}
    after = model.state_dict()
    ours = {}
    for key in after:
        if key.startswith('backbone.') or key.startswith('roi_head.shared_head.layer4.'):
            ours[key.removeprefix('backbone.').removeprefix('roi_head.shared_head.')] = after[key]
        else:
            assert torch.equal(after[key], before[key]), key
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in theirs)

    # RGB, and the stride where torchvision has it.
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=[image]), False)['inputs']
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    resnet.eval(), model.eval()
    with torch.no_grad():
        x = ((image.flip(0) / 255 - mean) / std)[None]
        torch.testing.assert_close(inputs, x, rtol=1e-3, atol=1e-3)
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x))))
        x = resnet.layer3(resnet.layer2(resnet.layer1(x)))
        (found,) = model.backbone(inputs)
    assert found.shape == (1, 1024, 4, 6)
    torch.testing.assert_close(found, x, rtol=1e-3, atol=1e-2)


def broken(weights: dict) -> list[tuple[dict, str]]:
    without = {key: one for key, one in weights.items() if not key.startswith('layer4')}
    deeper = weights | {'layer3.6.conv1.weight': torch.zeros(1)}
    other = weights | {'layer4.0.conv1.weight': torch.zeros(2, 2, 1, 1)}
    return [
        (without, "215 of 265 tensors match, 50 are missing ('layer4.0.bn1.bias'"),
        (deeper, "265 of 265 tensors match, 1 are not in the model ('layer3.6.conv1.weight')"),
        (other, "264 of 265 tensors match, 1 have another shape ('layer4.0.conv1.weight')"),
    ]


def test_a_file_that_does_not_fit_is_refused_before_training(resnet, tmp_path):
    cfg, model = detector()
    weights = {key: one for key, one in resnet.state_dict().items() if not key.startswith('fc.')}
    for number, (content, sentence) in enumerate(broken(weights)):
        cfg.custom_hooks[0].checkpoint = str(tmp_path / f'{number}.pth')
        torch.save(content, cfg.custom_hooks[0].checkpoint)
        with pytest.raises(ConfigError) as error:
            check_weights(cfg, model)
        assert sentence in str(error.value)
    cfg.custom_hooks[0].checkpoint = str(tmp_path / 'none.pth')
    with pytest.raises(ConfigError, match='none.pth .base. does not exist; name a checkpoint'):
        check_weights(cfg, model)


@pytest.mark.parametrize('name', ['finetune_r50_c4_voc_24ki', 'finetune_r50_c4_mask_coco_1x'])
def test_every_parameter_is_trained_and_every_norm_is_bn_in_training_mode(name):
    cfg, model = detector(f'hpt/{name}', train_cfg=dict(rcnn=dict(sampler=dict(num=16))))
    model.init_weights()
    model.train()
    classes, mask = cfg.model.roi_head.bbox_head.num_classes, 'mask' in name
    inputs = demo_mm_inputs(1, [[3, 96, 128]], num_items=[3], num_classes=classes, with_mask=mask)
    data = model.data_preprocessor(inputs, True)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss) and ('loss_mask' in logged) == mask
    loss.backward()
    assert not [key for key, one in model.named_parameters() if not one.requires_grad or one.grad is None]
    moved = {key: one.item() for key, one in model.state_dict().items() if key.endswith('num_batches_tracked')}
    # R50 has 53, and the extra one; no other part of the detector has any.
    assert len(moved) == 53 + 1 and set(moved.values()) == {1}
    assert {key.split('.')[0] for key in moved} == {'backbone', 'roi_head'}
    assert sum(key.startswith('roi_head.shared_head.') for key in moved) == 1 + 3 * 3 + 1
