"""What study A takes from Detectron, as it acts: optimiser, losses, targets; and MMDetection's in its place.

The oracles are written from Detectron's ``optimizer.py``, ``roi_data/rpn.py`` and ``json_dataset.py``, in NumPy.
"""

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from rethink.checks.init import without_values
from rethink.configs.diff import diff
from rethink.configs.provenance import read
from rethink.engine.launch import config_file
from test_rethink_configs import FOLDER, load
from torch import nn

ROOT = FOLDER.parents[1]
# Of each base and variant one; test_comparisons.py proves that others differ in what they are named for.
EACH = ['scratch_r50_gn_6x', 'pretrain_r101_gn_3x', 'scratch_r50_syncbn_2x', 'pretrain_x152_gn_aug_6x']
EACH += [
    'scratch_r50_gn_35k_retuned_6x',
    'scratch_r50_gn_1k_220ki',
    'pretrain_r50_gn_keypoint_2x',
    'pretrain_vgg16_aug_9x',
]
EACH += ['scratch_r50_gn_aug_cascade_9x', 'pretrain_x152_gn_aug_cascade_6x', 'scratch_r101_gn_voc_144ki']


@pytest.fixture(scope='module', autouse=True)
def scope():
    register_all_modules()
    init_default_scope('mmdet')


# --- optimiser -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['scratch_r50_gn_2x', 'pretrain_r50_syncbn_2x', 'scratch_vgg16_aug_11x'])
def test_biases_learn_twice_as_fast_and_neither_they_nor_norms_decay(name):
    cfg = load(name)
    model = without_values(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    found = {id(one): (group['lr'], group['weight_decay']) for group in groups for one in group['params']}
    kinds = {}
    for module in model.modules():
        norm = isinstance(module, (nn.GroupNorm, nn.modules.batchnorm._BatchNorm))
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                kinds.setdefault('norm' if norm else key, set()).add(found.pop(id(parameter)))
    assert not found, 'nothing frozen is in it, and nothing twice'
    expected = dict(weight={(0.02, 0.0001)}, bias={(0.04, 0.0)}, norm={(0.02, 0.0)})
    if name.startswith('scratch_vgg'):
        del expected['norm']
    assert kinds == expected


def test_steps_are_those_of_detectrons_optimiser():
    """Its ops in float64: the gradient of a bias doubled, decay for weights alone, momentum that holds the rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 2, 1)).double()
    wrapper = build_optim_wrapper(model, load('scratch_r50_gn_2x').optim_wrapper)
    values = {name: one.detach().numpy().copy() for name, one in model.named_parameters()}
    momenta = dict.fromkeys(values, 0.0)
    images = torch.rand(5, 2, 3, 8, 8, dtype=torch.float64)
    for image in images:
        wrapper.zero_grad()
        model(image).square().mean().backward()
        for name, parameter in model.named_parameters():
            gradient = parameter.grad.numpy().copy()
            if name in ('0.bias', '3.bias'):
                gradient *= 2.0
            elif name in ('0.weight', '3.weight'):
                gradient += 0.0001 * values[name]
            momenta[name] = 0.9 * momenta[name] + 0.02 * gradient
            values[name] = values[name] - momenta[name]
        wrapper.step()
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(parameter.detach().numpy(), values[name], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize('name', EACH)
def test_the_configs_of_the_study_have_them(name):
    cfg = load(name)
    assert cfg.optim_wrapper.get('paramwise_cfg') == dict(bias_lr_mult=2.0, bias_decay_mult=0.0, norm_decay_mult=0.0)
    model = cfg.model
    assert model.rpn_head.loss_bbox == dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0)
    assert model.train_cfg.rpn.allowed_border == 0 and model.train_cfg.rpn.assigner.min_pos_iou == 0
    heads, rcnn = model.roi_head.bbox_head, model.train_cfg.rcnn
    for head in heads if isinstance(heads, list) else [heads]:
        assert head.loss_bbox == dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)
    for one in rcnn if isinstance(rcnn, list) else [rcnn]:
        assert one.assigner.ignore_iof_thr == (-1 if '_voc_' in name else 0.7)
        assert not one.assigner.match_low_quality


# --- losses and targets ----------------------------------------------------------------------------------------------


def test_box_losses_are_smooth_l1_of_a_ninth_and_of_one():
    cfg = load('scratch_r50_gn_2x').model
    difference = torch.tensor([[0.01, 0.11, -0.12, 0.5], [-0.99, 1.0, 1.01, -7.0]], dtype=torch.float64)
    for loss, beta in ((cfg.rpn_head.loss_bbox, 1 / 9), (cfg.roi_head.bbox_head.loss_bbox, 1.0)):
        absolute = np.abs(difference.numpy())
        each = np.where(absolute < beta, 0.5 * absolute**2 / beta, absolute - 0.5 * beta)
        found = MODELS.build(loss)(difference, torch.zeros_like(difference), avg_factor=3)
        assert found.item() == pytest.approx(each.sum() / 3, rel=1e-6)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    return coco_mask.iou(xywh(boxes), xywh(others), [0] * len(others))


def xywh(boxes) -> np.ndarray:
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def test_anchors_are_labelled_as_in_detectron():
    """Of a small object, one across the border, and one that fits an anchor, in an image that is no multiple of 32."""
    model = load('scratch_r50_gn_2x').model
    height, width = 150, 203
    generator = TASK_UTILS.build(model.rpn_head.anchor_generator)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in (4, 8, 16, 32, 64)]
    anchors = torch.cat(generator.grid_priors(sizes, device='cpu'))
    objects = torch.tensor([[40.0, 50.0, 46.0, 56.0], [150.0, 90.0, 203.0, 150.0], [64.0, 30.0, 128.0, 94.0]])

    rpn = model.train_cfg.rpn
    inside = anchor_inside_flags(anchors, torch.ones(len(anchors), dtype=bool), (height, width), rpn.allowed_border)
    truth = InstanceData(bboxes=objects, labels=torch.zeros(3, dtype=torch.long))
    assigned = TASK_UTILS.build(rpn.assigner).assign(InstanceData(priors=anchors[inside]), truth)
    found = assigned.gt_inds.sign().numpy()

    every = anchors.numpy()
    kept = (every[:, 0] >= 0) & (every[:, 1] >= 0) & (every[:, 2] < width) & (every[:, 3] < height)
    assert (inside.numpy() == kept).all() and 0.2 < kept.mean() < 0.8
    iou = overlaps(every[kept], objects.numpy())
    labels = np.where(iou.max(1) < 0.3, 0, -1)
    best = np.isclose(iou, iou.max(0), rtol=1e-5, atol=0)
    labels[best.any(1) | (iou.max(1) >= 0.7)] = 1
    assert iou.max(0)[0] < 0.1 and best[:, 0].sum() >= 1, 'the small object has an anchor all the same'
    # Several anchors that are equally good may differ in the last bit.
    assert (found == labels)[~best.any(1)].all() and (best & (found == 1)[:, None]).any(0).all()


def test_what_lies_in_a_crowd_is_neither_object_nor_background():
    """pycocotools' overlap with a crowd is the share of the box that lies in it, as in Detectron's filter."""
    assigner = TASK_UTILS.build(load('scratch_r50_gn_2x').model.train_cfg.rcnn.assigner)
    random = np.random.default_rng(0)
    corner = random.uniform(0, 150, (400, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 80, (400, 2))], 1).astype(np.float32)
    objects, crowds = np.float32([[20, 20, 80, 90]]), np.float32([[90, 10, 200, 120], [10, 140, 90, 230]])
    share = coco_mask.iou(xywh(boxes), xywh(crowds), [1, 1]).max(1)
    iou = overlaps(boxes, objects)[:, 0]
    expected = np.where(share > 0.7, -1, np.where(iou >= 0.5, 1, 0))
    assert {-1, 0, 1} == set(expected)
    truth, ignored = (InstanceData(bboxes=torch.from_numpy(one)) for one in (objects, crowds))
    truth.labels = torch.zeros(1, dtype=torch.long)
    found = assigner.assign(InstanceData(priors=torch.from_numpy(boxes)), truth, ignored)
    assert (found.gt_inds.numpy() == expected).all()
    assert (found.gt_inds[share > 0.7] == -1).sum() > 20


# --- MMDetection's conventions in their place ------------------------------------------------------------------------

CONVENTIONS = {
    'model.rpn_head.loss_bbox.type',
    'model.rpn_head.loss_bbox.beta',
    'model.roi_head.bbox_head.loss_bbox.type',
    'model.roi_head.bbox_head.loss_bbox.beta',
    'model.train_cfg.rpn.assigner.min_pos_iou',
    'model.train_cfg.rpn.allowed_border',
    'model.train_cfg.rcnn.assigner.match_low_quality',
    'model.train_cfg.rcnn.assigner.ignore_iof_thr',
    'optim_wrapper.paramwise_cfg',
}


STAGES = {f'model.train_cfg.rcnn[{stage}].assigner.ignore_iof_thr' for stage in range(3)}
OF_CASCADES = {'model.train_cfg.rpn.assigner.min_pos_iou', 'optim_wrapper.paramwise_cfg'} | STAGES


def usual(tmp_path, name: str) -> str:
    """A user's config: the documented lines."""
    page = (ROOT / 'docs' / 'fidelity.md').read_text()
    one, cascade = [part.split('```')[0] for part in page.split('```python\n')[1:3]]
    lines = cascade if '_cascade_' in name else one
    first, _, rest = lines.partition('\n')
    assert first.startswith("_base_ = ['rethink::rethink/") and first.endswith("_base_/models/mmdet_conventions.py']")
    bases = [str(FOLDER / f'{name}.py'), str(ROOT / 'configs/_base_/models/mmdet_conventions.py')]
    path = tmp_path / 'usual.py'
    path.write_text(f'_base_ = {bases!r}\n{rest}')
    return str(path)


@pytest.mark.parametrize('name', EACH)
def test_the_override_changes_the_conventions_and_the_diff_shows_it(name, tmp_path):
    found = diff([read(str(FOLDER / f'{name}.py')), read(usual(tmp_path, name))])
    expected = OF_CASCADES if '_cascade_' in name else CONVENTIONS
    of_voc = {'model.train_cfg.rcnn.assigner.ignore_iof_thr'} if '_voc_' in name else set()
    assert {one.name for one in found if not one.is_variable} == expected - of_voc


def conventions(cfg: Config) -> list:
    """What `CONVENTIONS` names, of each stage."""
    model, rpn = cfg.model, cfg.model.train_cfg.rpn
    heads, stages = (
        one if isinstance(one, list) else [one] for one in (model.roi_head.bbox_head, model.train_cfg.rcnn)
    )
    assigners = [(one.assigner.match_low_quality, one.assigner.ignore_iof_thr) for one in stages]
    losses = [model.rpn_head.loss_bbox, *(one.loss_bbox for one in heads)]
    return [losses, assigners, rpn.assigner.min_pos_iou, rpn.allowed_border, cfg.optim_wrapper.get('paramwise_cfg')]


@pytest.mark.parametrize('name', EACH)
def test_it_is_what_mmdetections_own_config_has(name, tmp_path):
    theirs = 'cascade_rcnn/cascade-mask' if '_cascade_' in name else 'mask_rcnn/mask'
    theirs = Config.fromfile(config_file(f'mmdet::{theirs}-rcnn_r50_fpn_1x_coco.py'))
    assert conventions(Config.fromfile(usual(tmp_path, name))) == conventions(theirs) != conventions(load(name))


@pytest.mark.parametrize(
    'name', ['scratch_r18_gn_6x', 'scratch_r18_gn_cascade_6x', 'scratch_vgg16_6x', 'scratch_r18_gn_keypoint_1x']
)
def test_the_miniatures_keep_what_they_were_measured_with(name):
    cfg = Config.fromfile(ROOT / 'configs' / 'shapes' / f'{name}.py')
    assert cfg.optim_wrapper.get('paramwise_cfg') is None
    heads, rcnn = cfg.model.roi_head.bbox_head, cfg.model.train_cfg.rcnn
    heads, rcnn = (one if isinstance(one, list) else [one] for one in (heads, rcnn))
    for part in (cfg.model.rpn_head, *heads):
        assert part.loss_bbox == dict(type='L1Loss', loss_weight=1.0)
    assert cfg.model.train_cfg.rpn.allowed_border == -1 and cfg.model.train_cfg.rpn.assigner.min_pos_iou == 0.3
    assert {one.assigner.ignore_iof_thr for one in rcnn} == {-1}


# --- X152 ------------------------------------------------------------------------------------------------------------


def multiply_adds(backbone: dict) -> int:
    """Of the convolutions of a backbone for an image of 224 x 224, on the meta device."""
    with torch.device('meta'):
        model = MODELS.build(dict(backbone, init_cfg=None))
        count = 0

        def hook(conv, inputs, output):
            nonlocal count
            count += output[0].numel() * conv.weight[0].numel()

        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(hook)
        model(torch.empty(1, 3, 224, 224))
    return count


def test_x152_has_four_times_the_multiply_adds_of_r101():
    x152, r101 = (load(f'scratch_{depth}_gn_aug_9x').model.backbone for depth in ('x152', 'r101'))
    ratio = multiply_adds(x152) / multiply_adds(r101)
    assert ratio == pytest.approx(4.24, abs=0.01)
    assert multiply_adds(dict(x152, groups=32, base_width=8)) / multiply_adds(r101) == pytest.approx(3.13, abs=0.01)
