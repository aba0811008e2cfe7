"""VGG-16's configs against the published settings, and the model that they build, in its real size."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.registry import init_default_scope
from test_rethink_configs import FOLDER, MODELS_META, PIXELS, ROOT, SETTINGS, VGG, changed_keys, load

SCRATCH, PRETRAIN = VGG


@pytest.mark.parametrize('name', VGG)
def test_the_docstring_states_the_published_number_and_the_length(name):
    text, meta = (FOLDER / f'{name}.py').read_text(), MODELS_META[name]
    assert f'Published: {meta["Results"][0]["Metrics"]["box AP"]} box AP, val2017; not trained by us.' in text
    iterations, images = meta['Metadata']['Iterations'], meta['Metadata']['Iterations'] * 16
    assert f'{iterations // 1000}k iterations of 16 images = {images / 1e6:.2f} M images' in text
    assert f'{images / SETTINGS["training images"]:.0f} epochs of train2017' in text
    assert f'configs/rethink/{name}.py 8' in text


@pytest.mark.parametrize('name', VGG)
def test_settings_are_the_published_ones(name):
    cfg, length = load(name), int(name.rsplit('_', 1)[1][:-1])
    assert cfg.max_iters == cfg.train_cfg.max_iters == length * SETTINGS['iterations of 1x']
    assert cfg.max_iters == MODELS_META[name]['Metadata']['Iterations']
    # The schedule but for its length, the learning rate, its decay and that of weights are those of the study.
    base = 'scratch_r50_gn_aug_9x'
    assert changed_keys(name, base) - {'train_pipeline', 'train_dataloader', 'imagenet', 'random_head'} <= {
        *('model', 'test_pipeline', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'),
        *(('max_iters', 'milestones', 'train_cfg', 'param_scheduler') if length != 9 else ()),
    }
    steps = cfg.param_scheduler[1]
    assert steps.milestones == [cfg.max_iters - 60_000, cfg.max_iters - 20_000] and steps.gamma == 0.1
    assert steps.end == cfg.max_iters
    assert (cfg.optim_wrapper.optimizer.lr, cfg.optim_wrapper.optimizer.weight_decay) == (0.02, 1e-4)
    # The data are those of the other augmented configs, less the masks.
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        ours, theirs = load(name)[loader], load(base)[loader]
        for pipeline in (ours.dataset.pipeline, theirs.dataset.pipeline):
            (annotations,) = [step for step in pipeline if step.type.endswith('LoadAnnotations')]
            assert annotations.with_bbox and annotations.pop('with_mask', False) == (
                pipeline is theirs.dataset.pipeline
            )
            del annotations['type']  # masks are lazy where there are masks
        assert ours == theirs
    assert cfg.val_evaluator.metric == cfg.test_evaluator.metric == 'bbox'


@pytest.mark.parametrize('name', VGG)
def test_the_model_is_detectrons_vgg_16(name):
    model = load(name).model
    init = name.split('_')[0]
    assert model.type == 'FasterRCNN' and not model.get('neck') and not model.roi_head.get('mask_head')
    assert model.backbone.depth == 16 and model.backbone.frozen_stages == dict(pretrain=2, scratch=-1)[init]
    # torchvision's weights see what its other ones do.
    assert {key: model.data_preprocessor[key] for key in PIXELS['syncbn']} == PIXELS['syncbn']
    roi_layer = model.roi_head.bbox_roi_extractor.roi_layer
    assert roi_layer == dict(type='RoIAlign', output_size=SETTINGS['RoIAlign size, box'], sampling_ratio=0)
    assert model.roi_head.bbox_roi_extractor.featmap_strides == [16]
    anchors = model.rpn_head.anchor_generator
    (stride,) = anchors.strides
    assert [scale * stride for scale in anchors.scales] == [32, 64, 128, 256, 512]
    assert (model.train_cfg.rpn_proposal.nms_pre, model.train_cfg.rpn_proposal.max_per_img) == (12000, 2000)
    assert (model.test_cfg.rpn.nms_pre, model.test_cfg.rpn.max_per_img) == (6000, SETTINGS['RPN post-NMS top'])
    assert model.train_cfg.rcnn.sampler.num == SETTINGS['RoI batch per image']
    assert model.test_cfg.rcnn.nms.iou_threshold == SETTINGS['NMS, test']
    assert "'GN'" not in str(model)
    head = model.roi_head.bbox_head
    assert head.type == 'Shared2FCBBoxHead' and head.fc_out_channels == 4096
    weights = [entry.get('checkpoint') for entry in head.init_cfg if 'Pretrained' in entry.type]
    if init == 'scratch':
        assert model.backbone.init_cfg is None and not weights
    else:
        assert model.backbone.init_cfg.checkpoint == 'torchvision://vgg16' and weights == ['torchvision://vgg16']


def test_predictors_are_random_in_both_arms():
    ours, theirs = (load(name).model.roi_head.bbox_head.init_cfg for name in VGG)
    assert theirs[:-1] == ours


@pytest.fixture(scope='module')
def model():
    """The real model, 138 million parameters, from random weights."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(load(SCRATCH).model)
    model.init_weights()
    return model


def test_fc6_and_fc7_are_those_of_the_classifier_and_msra(model):
    """With the convolutions these are VGG-16 but for its last layer: torchvision gives its number of parameters."""
    head = model.roi_head.bbox_head
    assert [tuple(one.weight.shape) for one in head.shared_fcs] == [(4096, 512 * 7 * 7), (4096, 4096)]
    imagenet = [*model.backbone.parameters(), *head.shared_fcs.parameters()]
    assert sum(one.numel() for one in imagenet) == 138_357_544 - (4096 * 1000 + 1000)
    for layer in head.shared_fcs:
        assert layer.weight[:500].std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.01)
        assert (layer.bias == 0).all()
    assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert head.fc_reg.weight.std().item() == pytest.approx(0.001, rel=0.02)


def test_the_signal_keeps_its_size_through_fc6_and_fc7(model):
    torch.manual_seed(0)
    features = torch.randn(4, 512, 7, 7).relu()
    size = 2 * features.pow(2).mean()
    with torch.no_grad():
        hidden = features.flatten(1)
        for layer in model.roi_head.bbox_head.shared_fcs:
            hidden = layer(hidden)
            assert hidden.pow(2).mean().item() == pytest.approx(size.item(), rel=0.2)
            hidden = hidden.relu()


def test_a_training_step_and_predictions(model):
    model.train()
    inputs = demo_mm_inputs(1, [[3, 96, 96]], num_items=[2], num_classes=80)
    data = model.data_preprocessor(inputs, True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss)
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox'} <= logged.keys()
    loss.backward()
    assert not [name for name, one in model.named_parameters() if one.grad is None or not one.grad.any()]
    before = model.backbone.features[0].weight.detach().clone()
    optimizer.step()
    assert not torch.equal(model.backbone.features[0].weight, before)
    model.zero_grad(set_to_none=True)

    model.eval().test_cfg.rcnn.score_thr = model.roi_head.test_cfg.score_thr = 0.0
    data = model.data_preprocessor(inputs, False)
    with torch.no_grad():
        (sample,) = model.predict(data['inputs'], data['data_samples'])
    found = sample.pred_instances
    assert len(found) == 100 and found.bboxes.shape == (100, 4) and not hasattr(found, 'masks')


def test_the_miniature_has_all_13_convolutions_and_the_same_parts():
    mini, real = (
        Config.fromfile(ROOT / 'configs' / path).model
        for path in ('shapes/scratch_vgg16_6x.py', f'rethink/{SCRATCH}.py')
    )
    init_default_scope('mmdet')
    built = MODELS.build(mini)
    convs = [one for one in built.backbone.features if isinstance(one, torch.nn.Conv2d)]
    assert len(convs) == 13 and convs[-1].out_channels == 128
    assert not [one for one in built.modules() if 'Norm' in type(one).__name__]
    assert mini.roi_head.bbox_head.init_cfg == real.roi_head.bbox_head.init_cfg
    for part in (mini.backbone, mini.roi_head.bbox_head):
        assert part.type in ('VGG', 'Shared2FCBBoxHead') and part.get('frozen_stages', -1) == -1
