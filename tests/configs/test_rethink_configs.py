"""Study A's configs against the published settings and results in metafile.yml; pairs: test_comparisons.py."""

import copy
import re
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs' / 'rethink'
META = yaml.safe_load((FOLDER / 'metafile.yml').read_text())
SETTINGS = META['Collections'][0]['Metadata']['Settings']
MODELS_META = {model['Name']: model for model in META['Models']}
SIZE = SETTINGS['longer side'], SETTINGS['shorter side']
INITS = ('scratch', 'pretrain')
TABLE_1 = [f'{init}_{depth}_gn_{n}x' for init in INITS for depth in ('r50', 'r101') for n in range(2, 7)]
SYNCBN = [f'{init}_r50_syncbn_{n}x' for init in INITS for n in range(2, 7)]
AUG = [
    f'{init}_{depth}_gn_aug_{n}x' for init, n in (('scratch', 9), ('pretrain', 6)) for depth in ('r50', 'r101', 'x152')
]
LESS_DATA = [f'{init}_r50_gn_35k{retuned}_6x' for init in INITS for retuned in ('', '_retuned')]
LESS_DATA += [f'pretrain_r50_gn_{size}_60ki' for size in ('10k', '3.5k', '1k')]
LESS_DATA += [f'scratch_r50_gn_{size}_220ki' for size in ('10k', '3.5k', '1k')]
NAMES = TABLE_1 + SYNCBN + AUG + LESS_DATA
# People with keypoints: test_keypoint_configs.py.
KEYPOINT = [f'{init}_r50_gn_keypoint_{n}x' for init in INITS for n in (2, 3)]
# Cascades: test_cascade_configs.py.
CASCADE = [name.replace('_aug_', '_aug_cascade_') for name in AUG]
# Without normalisation: test_vgg_configs.py.
VGG = ['scratch_vgg16_aug_11x', 'pretrain_vgg16_aug_9x']
# PASCAL VOC: test_voc_configs.py.
VOC = ['pretrain_r101_gn_voc_18ki', 'scratch_r101_gn_voc_144ki']
# Detectron's GN weights see BGR without a deviation, torchvision's BN weights RGB with one.
PIXELS = dict(
    gn=dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0] * 3, bgr_to_rgb=False),
    syncbn=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
)


@cache
def read(name: str) -> Config:
    return Config.fromfile(FOLDER / f'{name}.py')


def load(name: str) -> Config:
    return copy.deepcopy(read(name))


def subset(name: str) -> int | None:
    """Number of images where a config trains on fewer than all."""
    found = re.search(r'_([\d.]+)k_', name)
    return round(1000 * float(found[1])) if found else None


def in_iterations(length: str) -> int:
    """Of the last part of a name, such as 6x or 60ki."""
    return int(length[:-1]) * SETTINGS['iterations of 1x'] if length.endswith('x') else int(length[:-2]) * 1000


def leaves(tree, prefix=()) -> dict[tuple, object]:
    """Every value of a config under its path."""
    if isinstance(tree, dict) and tree:
        items = tree.items()
    elif isinstance(tree, (list, tuple)) and tree:
        items = enumerate(tree)
    else:
        return {prefix: tree}
    return {path: value for key, one in items for path, value in leaves(one, (*prefix, key)).items()}


def test_every_config_has_its_entry_and_every_entry_its_config():
    names = NAMES + KEYPOINT + CASCADE + VOC + VGG
    assert {path.stem for path in FOLDER.glob('*.py')} == set(MODELS_META) == set(names)
    for name, model in MODELS_META.items():
        assert model['Config'] == f'configs/rethink/{name}.py'
        assert 'Weights' not in model, 'nobody here has trained COCO'


def test_the_readme_links_every_config_beside_its_numbers():
    linked = set()
    for line in (FOLDER / 'README.md').read_text().splitlines():
        cells = [re.findall(r'\]\(([\w.]+)\.py\)', cell) for cell in line.split('|')]
        names = {name for cell in cells for name in cell}
        linked |= names
        if not line.startswith('|') or not names:
            continue
        # A row of one config has its numbers in cells of their own; of several, each in its link.
        for cell, own in zip(line.split('|'), cells, strict=True):
            numbers = {float(one) for one in re.findall(r'\b\d\d?\.\d\b', re.sub(r'\(.*?\)', '', cell))}
            results = [one for name in own or names for one in MODELS_META[name].get('Results', [])]
            assert numbers <= {value for one in results for value in one['Metrics'].values()}, line
    assert linked == set(MODELS_META)


@pytest.mark.parametrize('name', NAMES)
def test_the_docstring_states_the_published_number_and_the_length(name):
    text = (FOLDER / f'{name}.py').read_text()
    for result in MODELS_META[name].get('Results', []):
        for metric in result['Metrics'].keys() & {'box AP', 'mask AP'}:
            assert f'{result["Metrics"][metric]} {metric}' in text
    if 'Results' not in MODELS_META[name]:
        assert 'without a number' in text and 'no number' in MODELS_META[name]['Metadata']['Published']
    assert ('(table 1)' in text) == (name in TABLE_1)
    assert 'not trained by us' in text
    iterations, batch = (MODELS_META[name]['Metadata'][key] for key in ('Iterations', 'Batch Size'))
    images = iterations * batch
    assert f'{iterations // 1000}k iterations of {batch} images = {images / 1e6:.2f} M images' in text
    of = subset(name) or SETTINGS['training images']
    assert f'{images / of:.0f} epochs' in text
    assert f'configs/rethink/{name}.py 8' in text


@pytest.mark.parametrize('name', NAMES)
def test_settings_are_the_published_ones(name):
    cfg = load(name)
    init, depth, norm, *variant, length = name.split('_')
    model = cfg.model

    retuned = bool(subset(name)) and '35k_6x' not in name
    max_iters = in_iterations(length)
    assert cfg.train_cfg.max_iters == max_iters == MODELS_META[name]['Metadata']['Iterations']
    warm_up, steps = cfg.param_scheduler
    assert warm_up.type == 'LinearLR' and not warm_up.by_epoch
    assert steps.type == 'MultiStepLR' and not steps.by_epoch
    assert steps.gamma == (SETTINGS['decay factor, less data'] if retuned else 0.1)
    if length.endswith('x'):
        last = SETTINGS['last iterations at lr / 10'], SETTINGS['last iterations at lr / 100']
        assert steps.milestones == [max_iters - left for left in last]
    else:
        assert steps.milestones == [max_iters * 2 // 3, max_iters * 8 // 9]
    assert steps.end == max_iters

    # Eight processes, as in the command of the docstring.
    assert 8 * cfg.train_dataloader.batch_size == SETTINGS['batch size'] == cfg.auto_scale_lr.base_batch_size
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'SGD'
    assert optimizer.lr == SETTINGS['learning rate, less data' if retuned else 'learning rate']
    assert optimizer.momentum == SETTINGS['momentum']
    assert optimizer.weight_decay == SETTINGS['weight decay']

    read, annotate, resize, flip, pack = cfg.train_dataloader.dataset.pipeline
    if 'aug' in variant or retuned:
        shortest, longest = SETTINGS['shorter side, less data' if retuned else 'shorter side, aug']
        scales = [(SETTINGS['longer side'], shortest), (SETTINGS['longer side'], longest)]
        assert resize == dict(type='RandomResize', scale=scales, keep_ratio=True)
    else:
        assert resize == dict(
            type='Resize', scale=(SETTINGS['longer side'], SETTINGS['shorter side']), keep_ratio=True
        )
    (resize,) = [step for step in cfg.val_dataloader.dataset.pipeline if step.type == 'Resize']
    assert resize.scale == SIZE and resize.keep_ratio
    types = [step.type for step in (read, annotate, flip, pack)]
    assert types == ['LoadImageFromFile', 'LazyLoadAnnotations', 'RandomFlip', 'PlanarPackDetInputs']
    part = f'_{variant[0]}' if subset(name) else ''
    assert cfg.train_dataloader.dataset.ann_file == f'annotations/instances_train2017{part}.json'
    assert cfg.val_evaluator.ann_file.endswith('instances_val2017.json')

    gn = dict(type='GN', num_groups=SETTINGS['GN groups'], requires_grad=True)
    for part in (model.backbone, model.neck, model.roi_head.bbox_head, model.roi_head.mask_head):
        assert part.norm_cfg == (gn if norm == 'gn' else dict(type='SyncBN', requires_grad=True))
    assert {key: model.data_preprocessor[key] for key in PIXELS[norm]} == PIXELS[norm]
    assert model.backbone.depth == int(depth[1:])
    if depth.startswith('x'):
        assert (model.backbone.type, model.backbone.groups, model.backbone.base_width) == ('ResNeXt', 8, 32)
    assert model.backbone.frozen_stages == SETTINGS[f'frozen stages, {init}']
    assert not model.backbone.norm_eval
    assert model.roi_head.bbox_head.type == 'Shared4Conv1FCBBoxHead'
    assert model.roi_head.mask_head.num_convs == 4
    for head, size in (('bbox', 'RoIAlign size, box'), ('mask', 'RoIAlign size, mask')):
        roi_layer = model.roi_head[f'{head}_roi_extractor'].roi_layer
        assert roi_layer.output_size == SETTINGS[size]
        assert roi_layer.sampling_ratio == SETTINGS['RoIAlign sampling ratio']
    assert model.train_cfg.rcnn.sampler.num == SETTINGS['RoI batch per image']
    assert model.train_cfg.rpn_proposal.nms_pre == SETTINGS['RPN pre-NMS top, training']
    assert model.test_cfg.rpn.nms_pre == SETTINGS['RPN pre-NMS top, test']
    assert model.train_cfg.rpn_proposal.max_per_img == SETTINGS['RPN post-NMS top']
    assert model.test_cfg.rpn.max_per_img == SETTINGS['RPN post-NMS top']
    assert model.test_cfg.rcnn.nms.iou_threshold == SETTINGS['NMS, test']

    if init == 'scratch':
        assert model.backbone.init_cfg == [dict(type='Caffe2Xavier', layer='Conv2d')]
    else:
        source = dict(gn='open-mmlab://detectron/resnet{}_gn', syncbn='torchvision://resnet{}')[norm]
        if depth == 'x152':
            source = 'checkpoints/resnext{}_8x32d_gn.pth'
        checkpoint = source.format(depth[1:])
        assert model.backbone.init_cfg == dict(type='Pretrained', checkpoint=checkpoint)


def changed_keys(one: str, other: str) -> set[str]:
    """The top-level keys under which two configs differ."""
    one, other = leaves(load(one)._cfg_dict), leaves(load(other)._cfg_dict)
    return {path[0] for path in one.keys() | other.keys() if one.get(path, '-') != other.get(path, '-')}


def test_the_weights_of_x152_are_a_variable(monkeypatch):
    monkeypatch.setenv('X152_GN_WEIGHTS', '/weights/x152.pth')
    for name in ('pretrain_x152_gn_aug_6x', 'pretrain_x152_gn_aug_cascade_6x'):
        assert Config.fromfile(FOLDER / f'{name}.py').model.backbone.init_cfg.checkpoint == '/weights/x152.pth'


@pytest.mark.parametrize('name', TABLE_1)
def test_learning_rate_curve(name):
    """The curve of the paper, stepped through MMEngine's own schedulers: warm-up, then 0.02, 0.002 and 0.0002."""
    cfg = load(name)
    optimizer = OptimWrapper(
        torch.optim.SGD([nn.Parameter(torch.zeros(1))], **without(cfg.optim_wrapper.optimizer, 'type'))
    )
    # 1000 times shorter, drops and all: 540,000 real steps of a scheduler take a minute.
    short = [shortened(one) for one in cfg.param_scheduler]
    schedulers = [PARAM_SCHEDULERS.build(one, default_args=dict(optimizer=optimizer)) for one in short]
    rates = []
    for _ in range(cfg.train_cfg.max_iters // 100):
        rates.append(optimizer.get_lr()['lr'][0])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0.02 / 3)
    assert rates[:5] == sorted(rates[:5])
    end = len(rates)
    assert set(round(rate, 9) for rate in rates[5 : end - 600]) == {0.02}
    assert set(round(rate, 9) for rate in rates[end - 600 : end - 200]) == {0.002}
    assert set(round(rate, 9) for rate in rates[end - 200 :]) == {0.0002}


def without(one: dict, *keys) -> dict:
    return {key: value for key, value in one.items() if key not in keys}


def shortened(scheduler: ConfigDict) -> dict:
    scheduler = dict(scheduler, begin=scheduler.begin // 100, end=scheduler.end // 100)
    if 'milestones' in scheduler:
        scheduler['milestones'] = [one // 100 for one in scheduler['milestones']]
    return scheduler


BUILT = [f'{init}_{model}_6x' for model in ('r50_gn', 'r101_gn', 'r50_syncbn') for init in INITS]
BUILT += ['scratch_x152_gn_aug_9x', 'pretrain_x152_gn_aug_6x']


def few_rois(cfg: Config) -> None:
    """The convolutions of 512 RoIs an image are most of a step on a CPU, and each of them is checked as well by 16."""
    stages = cfg.model.train_cfg.rcnn
    for stage in stages if isinstance(stages, list) else [stages]:
        stage.sampler.num = 16


@pytest.fixture(scope='module', params=BUILT)
def built(request):
    """The models of the configs (schedules share them), without the download of the weights."""
    register_all_modules()
    cfg = load(request.param)
    if request.param.startswith('pretrain'):
        cfg.model.backbone.init_cfg = None
    few_rois(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    # What a Runner does with SyncBN in a single process.
    model = revert_sync_batchnorm(model)
    init, depth, norm, *_ = request.param.split('_')
    return init, depth, norm, model.train()


def test_all_configs_share_the_models_that_are_built_here():
    models = [load(name).model for name in BUILT]
    assert all(load(name).model in models for name in NAMES)


def test_forward_backward_step(built):
    init, depth, norm, model = built
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[3], num_classes=80, with_mask=True)
    data = model.data_preprocessor(inputs, True)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss) and {'loss_rpn_cls', 'loss_cls', 'loss_bbox', 'loss_mask'} <= logged.keys()
    loss.backward()
    stem, stage1 = model.backbone.conv1.weight, model.backbone.layer1[0].conv1.weight
    assert (stem.grad is None) == (stage1.grad is None) == (init == 'pretrain')
    without_gradient = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    assert not without_gradient
    if init == 'scratch':
        assert all(parameter.requires_grad for parameter in model.parameters())
    # Every normalisation is the one that the name says: none is left out.
    norms = [one for one in model.modules() if isinstance(one, (nn.GroupNorm, nn.modules.batchnorm._BatchNorm))]
    assert len(norms) == {'r50': 53, 'r101': 104, 'x152': 155}[depth] + 8 + 4 + 4
    if norm == 'gn':
        assert {type(one) for one in norms} == {nn.GroupNorm} and {one.num_groups for one in norms} == {32}
    else:
        # Only what is frozen keeps its statistics: the stem and the first stage of the fine-tuned arm.
        assert not any(isinstance(one, nn.GroupNorm) for one in norms)
        frozen = 1 + 3 * 3 + 1 if init == 'pretrain' else 0
        assert sum(not one.training for one in norms) == frozen


def test_random_initialisation_is_that_of_detectron_with_unit_norm_scales(built):
    """The backbone from scratch as Caffe2's XavierFill, uniform of variance 1 / fan in; heads as MSRAFill, normal of
    variance 2 / fan out (He et al. 2015); scales of one in every norm."""
    init, *_, model = built
    for head in (model.backbone, model.roi_head.bbox_head, model.roi_head.mask_head):
        for name, module in head.named_modules():
            if isinstance(module, nn.Conv2d) and 'logits' not in name and module.weight.numel() > 10_000:
                weight = module.weight
                if head is model.backbone and init == 'scratch':
                    bound = (3 / weight[0].numel()) ** 0.5
                    assert bound * 0.999 < weight.abs().max() <= bound and weight.mean().abs() < bound / 50, name
                    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02), name
                elif head is not model.backbone:
                    fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
                    assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
            if isinstance(module, (nn.GroupNorm, nn.modules.batchnorm._BatchNorm)):
                assert (module.weight == 1).all() and (module.bias == 0).all()
