"""The cascade configs: a Mask R-CNN config with scale augmentation, and what a cascade changes in it."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from test_rethink_configs import CASCADE, FOLDER, MODELS_META, SETTINGS, few_rois, load


@pytest.mark.parametrize('name', CASCADE)
def test_three_stages_of_which_the_last_has_the_mask(name):
    cfg = load(name)
    head, rcnn = cfg.model.roi_head, cfg.model.train_cfg.rcnn
    assert head.type == 'LastStageMaskCascadeRoIHead' and head.num_stages == 3 and isinstance(head.mask_head, dict)
    plain = load(name.replace('_cascade', '')).model
    for one in head.bbox_head:
        assert one.type == 'Shared4Conv1FCBBoxHead' and one.norm_cfg == plain.roi_head.bbox_head.norm_cfg
        assert one.fc_out_channels == plain.roi_head.bbox_head.fc_out_channels
    assert [one.assigner.pos_iou_thr for one in rcnn] == [0.5, 0.6, 0.7]
    assert [one.sampler for one in rcnn] == [plain.train_cfg.rcnn.sampler] * 3
    assert cfg.tta_model.type == 'DetectronTTAModel'


@pytest.mark.parametrize('name', CASCADE)
def test_from_scratch_the_cascade_comes_for_the_final_270k_iterations(name):
    cfg = load(name)
    if name.startswith('pretrain'):
        assert 'switch_from' not in cfg
        return
    assert cfg.train_cfg.max_iters - cfg.switch_from.iteration == 270_000
    # Saved there, and evaluated.
    assert cfg.switch_from.iteration % cfg.default_hooks.checkpoint.interval == 0
    before = Config.fromfile(cfg.switch_from.config)
    assert before.model == load(name.replace('_cascade', '')).model
    assert before.train_cfg == cfg.train_cfg and before.param_scheduler == cfg.param_scheduler


@pytest.mark.parametrize('name', CASCADE)
def test_the_docstring_states_what_is_published(name):
    text = (FOLDER / f'{name}.py').read_text()
    meta = MODELS_META[name]
    plain, augmented = re.search(r'Published: (.*?)with --tta, (.*)not trained by us', text, re.DOTALL).groups()
    for result in meta['Results']:
        for metric, value in result['Metrics'].items():
            if metric.removesuffix(' (TTA)') in ('box AP', 'mask AP'):
                stated = augmented if metric.endswith(' (TTA)') else plain
                assert f'{value} {metric.removesuffix(" (TTA)")}' in stated
    iterations = load(name).train_cfg.max_iters
    assert iterations == meta['Metadata']['Iterations']
    images = iterations * meta['Metadata']['Batch Size']
    assert f'{iterations // 1000}k iterations of 16 images = {images / 1e6:.2f} M images' in text
    assert f'{images / SETTINGS["training images"]:.0f} epochs' in text


def test_forward_backward_step():
    register_all_modules()
    torch.manual_seed(0)
    cfg = load('scratch_r50_gn_aug_cascade_9x')
    few_rois(cfg)
    model = MODELS.build(cfg.model)
    model.init_weights()
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[3], num_classes=80, with_mask=True)
    data = model.train().data_preprocessor(inputs, True)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss) and {'s0.loss_cls', 's2.loss_bbox', 's2.loss_mask'} <= logged.keys()
    loss.backward()
    assert not [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
