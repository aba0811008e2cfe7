"""A frozen backbone: what training leaves of it (every bit), what autograd keeps for it (nothing), what it is."""

import copy
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from conftest import write_detector
from mmengine.config import ConfigDict
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import load_checkpoint
from rethink.engine import launch
from rethink.errors import ConfigError
from rethink.models.frozen import frozen as freeze
from rethink.models.frozen import weight_names
from tiny_detectors import BACKBONES, build, changed, copied, frozen, optimise, plain, retinanet, train
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

NAMES = list(BACKBONES)


@contextmanager
def kept_bytes():
    """Collects the sizes of the tensors that autograd keeps, in bytes."""
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


# --- training --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'CPUAmpOptimWrapper'])
@pytest.mark.parametrize('name', NAMES)
def test_training_changes_no_bit_of_it(name, wrapper):
    model = retinanet(name, frozen(name))
    own = {id(one) for one in model.backbone.parameters()}
    assert own and not any(one.requires_grad for one in model.backbone.parameters())
    optim_wrapper = optimise(model, wrapper)
    held = [one for group in optim_wrapper.optimizer.param_groups for one in group['params']]
    assert not own & {id(one) for one in held}
    assert len(held) == sum(id(one) not in own for one in model.parameters())

    average = ExponentialMovingAverage(model, momentum=0.3)
    before, rest = copied(model.backbone), copied(model.neck)
    for _ in range(2):
        train(model, optim_wrapper, 1)
        average.update_parameters(model)
    assert not changed(before, model.backbone)
    assert not changed(before, average.module.backbone)
    assert changed(rest, model.neck) == changed(rest, average.module.neck) == set(rest)
    assert len(optim_wrapper.optimizer.state) == len(held)
    assert all(one.grad is None for one in model.backbone.parameters())


@pytest.mark.parametrize('name', NAMES)
def test_the_plain_backbone_changes_in_the_same_training(name):
    """Without which the test before would show nothing."""
    model = retinanet(name, plain(name))
    before = copied(model.backbone)
    model.train()
    with kept_bytes() as kept:
        model.backbone(torch.randn(2, 3, 64, 64))
    assert sum(kept) > 1_000_000
    train(model, optimise(model))
    moved = changed(before, model.backbone)
    statistics = {key for key in before if 'running_' in key}
    assert statistics <= moved
    of_maps = {key for key, value in before.items() if value.ndim == 4 and value.is_floating_point()}
    assert of_maps and len(of_maps & moved) > 0.9 * len(of_maps)


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_kept_for_a_backward_pass(name):
    model = build(frozen(name))
    model.train()
    with kept_bytes() as kept:
        maps = model(torch.randn(2, 3, 64, 64))
    assert not kept
    assert [one.shape[1] for one in maps] == list(BACKBONES[name][1])
    assert not any(one.requires_grad or one.grad_fn for one in maps)


@pytest.mark.parametrize('name', NAMES)
def test_it_computes_what_the_plain_backbone_does_in_evaluation(name):
    model, same = build(frozen(name)), build(plain(name))
    model.train()
    images = torch.randn(2, 3, 64, 64)
    assert list(model.state_dict()) == list(same.state_dict())
    same.load_state_dict(model.state_dict())
    same.eval()
    first = model(images)
    for mine, again, theirs in zip(first, model(images), same(images), strict=True):
        assert torch.equal(mine, theirs) and torch.equal(mine, again)
    same.train()
    assert not torch.equal(same(images)[-1], first[-1])


def test_train_of_any_part_wakes_nothing():
    model = retinanet('timm', frozen('timm'))
    for module in model.modules():
        module.train()
    assert any(module.training for module in model.backbone.modules())
    before = copied(model.backbone)
    first, second = (model.backbone(torch.ones(2, 3, 64, 64)) for _ in range(2))
    assert torch.equal(first[-1], second[-1]) and not changed(before, model.backbone)
    assert not any(module.training for module in model.backbone.modules())
    assert model.neck.training and model.train().neck.training and not model.eval().neck.training


def test_requires_grad_of_the_whole_model_does_not_reach_it():
    model = retinanet('resnet', frozen('resnet'))
    model.requires_grad_(True)
    with kept_bytes() as kept:
        model.backbone(torch.randn(2, 3, 64, 64))
    assert not kept
    model.train()
    assert not any(one.requires_grad for one in model.backbone.parameters())


def test_synchronised_bn_stays_asleep():
    model = build(frozen('resnet'))
    before = copied(model)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model.bn1, nn.SyncBatchNorm)
    model.train()
    model(torch.randn(2, 3, 64, 64))
    assert not changed(before, model) and not any(module.training for module in model.modules())
    assert not any(one.requires_grad for one in model.parameters())


@pytest.mark.parametrize('stages', [-1, 2, 4])
def test_arguments_of_the_plain_backbone_that_freeze_stay_what_they_are(stages):
    model = retinanet('resnet', frozen('resnet', frozen_stages=stages, norm_eval=True, with_cp=True))
    before = copied(model.backbone)
    train(model, optimise(model))
    assert not changed(before, model.backbone)


def test_an_input_that_wants_a_gradient_gets_the_plain_backbone_s():
    """Such as that of something learnt in front of the backbone."""
    model, same = build(frozen('resnet')), build(plain('resnet'))
    same.eval()
    same.load_state_dict(model.state_dict())
    found = []
    for one in (model, same):
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1), requires_grad=True)
        one(images)[-1].square().sum().backward()
        found.append(images.grad)
    assert torch.equal(*found) and found[0].abs().sum() > 0
    assert all(one.grad is None for one in model.parameters())


# --- what it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['resnet', 'swin'])
def test_it_is_the_plain_backbone_s_class_and_copies_and_pickles(name):
    model = build(frozen(name))
    kind = type(build(plain(name)))
    assert isinstance(model, kind) and type(build(frozen(name))) is type(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model) and other.plain is kind
        assert not changed(copied(model), other)
        other.train()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(1)
        assert not any(module.training for module in other.modules())
        assert set(changed(copied(model), other)) == {key for key, _ in model.named_parameters()}


@pytest.mark.parametrize('name', NAMES)
def test_checkpoints_go_from_fine_tuned_to_frozen_and_back(name, tmp_path):
    """Strictly, by PyTorch and by MMEngine."""
    fine_tuned, model = retinanet(name, plain(name)), retinanet(name, frozen(name))
    train(fine_tuned, optimise(fine_tuned), 1)
    model.load_state_dict(fine_tuned.state_dict(), strict=True)
    assert not changed(copied(fine_tuned), model)
    train(model, optimise(model), 1)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'frozen.pth')
    load_checkpoint(fine_tuned, str(tmp_path / 'frozen.pth'), strict=True)
    assert not changed(copied(model), fine_tuned)
    assert any(one.requires_grad for one in fine_tuned.backbone.parameters())


def test_a_classifier_can_have_it():
    init_default_scope('mmpretrain')
    backbone = dict(type='FrozenBackbone', of='ResNet', depth=18, allow_random=True)
    head = dict(type='LinearClsHead', num_classes=2, in_channels=512)
    model = MODELS.build(
        dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head)
    )
    assert model.backbone.plain.__module__.startswith('mmpretrain.')
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    assert [key for key, one in model.named_parameters() if one.requires_grad] == ['head.fc.weight', 'head.fc.bias']


# --- random weights --------------------------------------------------------------------------------------------------


@pytest.fixture
def weights():
    return copied(build(plain('resnet')))


def refused(model, sentence) -> None:
    images = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ConfigError, match=sentence) as caught:
        model(images)
    assert '\n' not in str(caught.value) and str(caught.value).endswith('.')
    with torch.no_grad():
        model(images)  # looking at what a random backbone gives trains nothing


def test_random_weights_are_refused_where_training_would_begin(weights):
    model = build(frozen('resnet', allow_random=False))
    assert weight_names(model) == {key for key in weights if 'num_batches' not in key}
    model(torch.zeros(1, 3, 64, 64))  # no Runner has been here
    model.init_weights()
    refused(model, r"a frozen ResNet has 100 of 100 tensors that no checkpoint gave \('bn1\.bias'.*allow_random=True")
    del weights['layer2.0.bn1.running_var']
    weights['conv1.weight'] = weights['conv1.weight'][:4]
    model.load_state_dict({key: one for key, one in weights.items() if key != 'conv1.weight'}, strict=False)
    refused(model, r"has 2 of 100 tensors .*\('conv1\.weight', 'layer2\.0\.bn1\.running_var'\)")
    refused(pickle.loads(pickle.dumps(model)), 'has 2 of 100')
    refused(copy.deepcopy(model), 'has 2 of 100')


def test_what_gives_it_weights(weights, tmp_path):
    torch.save(dict(state_dict={f'backbone.{key}': one for key, one in weights.items()}), tmp_path / 'a.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix='backbone.')
    images = torch.zeros(1, 3, 64, 64)

    model = build(frozen('resnet', allow_random=False, init_cfg=init_cfg))
    model.init_weights()
    model(images)
    assert not changed(weights, model)

    model = retinanet('resnet', frozen('resnet', allow_random=False))
    refused(model.backbone, '100 of 100')
    load_checkpoint(model, str(tmp_path / 'a.pth'))
    model.backbone(images)

    # Loaded first and drawn anew after that, as where a Runner gets a loaded model.
    model = build(frozen('resnet', allow_random=False))
    model.load_state_dict(weights)
    model.init_weights()
    refused(model, '100 of 100')


def test_a_backbone_that_loads_in_its_own_way(tmp_path):
    """MMDetection's Swin converts names, so what it got shows in the backbone alone."""
    whole = build(plain('swin')).state_dict()
    assert 'stages.0.blocks.0.attn.w_msa.relative_position_index' in whole  # made from the size of the window
    file = ConfigDict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    model = build(frozen('swin', False, init_cfg=file))
    for gone, names in ((set(), None), ({'norm1.bias'}, r"1 of \d+ tensors .*\('norm1\.bias'\)")):
        given = {f'backbone.{key}': one for key, one in whole.items() if key not in gone}
        torch.save(dict(state_dict=given), tmp_path / 'a.pth')
        model.init_weights()
        if names:
            refused(model, names)
        else:
            model(torch.zeros(1, 3, 64, 64))
            assert not changed(whole, model)


def test_a_file_of_another_shape_gives_nothing(weights, tmp_path):
    """MMEngine only warns."""
    torch.save(dict(state_dict=weights | {'conv1.weight': torch.zeros(16, 3, 7, 7)}), tmp_path / 'a.pth')
    model = build(frozen('resnet', False, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))))
    model.init_weights()
    refused(model, r"1 of 100 tensors .*\('conv1\.weight'\)")


def test_timm_s_own_weights_are_weights(tmp_path):
    import timm

    path = tmp_path / 'resnet18.pth'
    torch.save(timm.create_model('resnet18').state_dict(), path)
    kind = dict(type='mmpretrain.TIMMBackbone', model_name='resnet18')
    model = freeze(build(kind | dict(checkpoint_path=str(path))))
    model.init_weights()
    model(torch.zeros(1, 3, 32, 32))
    model = freeze(build(kind))
    model.init_weights()
    refused(model, 'a frozen TIMMBackbone has 100 of 100')


def test_a_base_gives_weights_also_to_a_backbone_whose_last_stage_is_in_the_head(tmp_path):
    """C4: the file is loaded into both."""
    from rethink.engine.hooks import InitFromBaseHook

    whole = build(plain('resnet'))
    torch.save(
        dict(state_dict={f'backbone.{key}': one for key, one in whole.state_dict().items()}), tmp_path / 'a.pth'
    )
    three = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    model, head = nn.Module(), nn.Module()
    model.backbone, model.roi_head = build(frozen('resnet', False, **three)), head
    head.shared_head = nn.Sequential()
    head.shared_head.add_module('layer4', copy.deepcopy(whole.layer4))
    model.backbone.init_weights()
    refused(model.backbone, '75 of 75')
    InitFromBaseHook(str(tmp_path / 'a.pth')).initialise(model)
    model.backbone(torch.zeros(1, 3, 64, 64))


# --- a run -----------------------------------------------------------------------------------------------------------

# One image in each of two processes, bfloat16, and an average of the weights that is validated.
RUN = """
model['backbone'].update(
    type='FrozenBackbone', of='ResNet', init_cfg=dict(type='Pretrained', checkpoint={weights!r}))
optim_wrapper['constructor'] = 'TrainableOptimWrapperConstructor'
custom_hooks = [dict(type='EMAHook', momentum=0.2)]
train_cfg.update(max_iters=4, val_interval=4)
default_hooks['checkpoint'].update(interval=4)
val_evaluator.update(classwise=False)
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp('frozen')
    path = write_detector(folder / 'frozen.py', data, RUN.format(weights=str(folder / 'weights.pth')))
    backbone = launch.load_config(str(path)).model.backbone
    weights = build({key: one for key, one in backbone.items() if key not in ('of', 'init_cfg')} | dict(type='ResNet'))
    for _ in range(3):  # BN's statistics are then those of something
        weights(torch.rand(4, 3, 64, 64))
    torch.save(weights.state_dict(), folder / 'weights.pth')
    return path


def check_run(config, work_dir) -> None:
    weights = torch.load(config.with_name('weights.pth'))
    content = torch.load(work_dir / 'iter_4.pth', weights_only=False)
    for states, prefix in ((content['state_dict'], ''), (content['ema_state_dict'], 'module.')):
        assert [key for key in weights if not torch.equal(states[f'{prefix}backbone.{key}'], weights[key])] == []
    ours, average = content['state_dict'], content['ema_state_dict']
    learnt = [key for key in ours if key.startswith(('neck.', 'bbox_head.')) and 'conv.weight' in key]
    assert learnt and not any(torch.equal(ours[key], average[f'module.{key}']) for key in learnt)
    assert len(content['optimizer']['state']) == sum(
        not key.startswith('backbone.') and 'running' not in key and 'num_batches' not in key for key in ours
    )


def test_a_run_in_two_processes(config, tmp_path):
    """With bfloat16, an average of the weights, and validation in between."""
    script = Path(__file__).with_name('two_processes.py')
    environment = os.environ | dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')
    result = subprocess.run(
        [sys.executable, script, config, tmp_path], env=environment, capture_output=True, text=True, timeout=900
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert 'GPU number: 2' in result.stdout and 'coco/bbox_mAP: ' in result.stdout
    check_run(config, tmp_path)
