"""Figure 6's configs against the published settings, and the model that they build."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.registry import init_default_scope
from test_rethink_configs import FOLDER, KEYPOINT, MODELS_META, SETTINGS, changed_keys, few_rois, leaves, load


@pytest.mark.parametrize('name', KEYPOINT)
def test_the_docstring_states_the_published_number_and_the_length(name):
    text, meta = (FOLDER / f'{name}.py').read_text(), MODELS_META[name]
    if 'Results' in meta:
        assert f'{meta["Results"][0]["Metrics"]["keypoint AP"]} keypoint AP (figure 6)' in text
    else:
        assert 'without a number (figure 6)' in text and 'no number' in meta['Metadata']['Published']
    assert 'not trained by us' in text
    iterations, images = meta['Metadata']['Iterations'], meta['Metadata']['Iterations'] * 16
    assert f'{iterations // 1000}k iterations of 16 images = {images / 1e6:.2f} M images' in text
    people = meta['Metadata']['Training images']
    assert f'{images / people:.0f} epochs of the {people:,} images' in text
    assert f'configs/rethink/{name}.py 8' in text


@pytest.mark.parametrize('name', KEYPOINT)
def test_settings_are_the_published_ones(name):
    cfg, length = load(name), int(name[-2])
    assert cfg.max_iters == cfg.train_cfg.max_iters == length * SETTINGS['iterations of 1x']
    # Everything but data, heads and pictures is as in the sweep of boxes and masks, schedule and optimiser among it.
    changed = changed_keys(name, name.replace('_keypoint', ''))
    data = {f'{part}_{what}' for part in ('train', 'test', 'val') for what in ('dataloader', 'pipeline', 'evaluator')}
    assert changed - data == {'dataset_type', 'model', 'tta_model', 'tta_pipeline', 'visualizer'}
    ours, theirs = (leaves(load(one).model) for one in (name, name.replace('_keypoint', '')))
    different = {path for path in ours.keys() | theirs.keys() if ours.get(path, '-') != theirs.get(path, '-')}
    assert {path[:2] for path in different} == {
        ('data_preprocessor', 'pad_mask'),
        ('roi_head', 'type'),
        ('roi_head', 'bbox_head'),
        ('roi_head', 'mask_head'),
        ('roi_head', 'mask_roi_extractor'),
        ('roi_head', 'keypoint_head'),
        ('roi_head', 'keypoint_roi_extractor'),
        ('train_cfg', 'rpn_proposal'),
    }
    # Detectron: 2000 of the two images of a GPU; detectron2: 1500 of each. Smooth L1 for boxes in both.
    proposals = load('scratch_r50_gn_2x').model.train_cfg.rpn_proposal
    assert cfg.model.train_cfg.rpn_proposal == dict(proposals, max_per_img=1500)
    assert cfg.model.roi_head.bbox_head.loss_bbox.type == 'SmoothL1Loss'
    assert cfg.model.roi_head.bbox_head.num_classes == 1 and cfg.model.roi_head.mask_head is None

    _, annotate, resize, flip, pack = cfg.train_dataloader.dataset.pipeline
    assert resize.scales == [(1333, shorter) for shorter in (640, 672, 704, 736, 768, 800)] and resize.keep_ratio
    (resize,) = [step for step in cfg.val_dataloader.dataset.pipeline if step.type == 'Resize']
    assert resize.scale == (1333, 800)
    assert cfg.train_dataloader.dataset.ann_file.endswith('person_keypoints_train2017.json')
    for part in (cfg.val_dataloader.dataset, cfg.val_evaluator, cfg.test_evaluator):
        assert part.ann_file.endswith('person_keypoints_val2017.json')
    assert cfg.val_evaluator.metric == ['bbox', 'keypoints']


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet')
    cfg = load('scratch_r50_gn_keypoint_2x')
    few_rois(cfg)
    cfg.model.test_cfg.rcnn.max_per_img = 8
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def batch(model, visible: bool):
    inputs = demo_mm_inputs(1, [[3, 128, 160]], num_items=[2], num_classes=2)
    for sample in inputs['data_samples']:
        boxes = sample.gt_instances.bboxes = torch.tensor([[10.0, 10.0, 60.0, 90.0], [70.0, 20.0, 150.0, 120.0]])
        sample.gt_instances.labels = torch.zeros(2, dtype=torch.long)
        place = torch.rand(2, 17, 2) * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]
        sample.gt_instances.keypoints = torch.cat([place, torch.full((2, 17, 1), 2.0 * visible)], -1)
    return model.data_preprocessor(inputs, True)


@pytest.mark.parametrize('visible', [True, False])
def test_forward_backward_step(model, visible):
    """Also without a visible keypoint every parameter has a gradient, as DistributedDataParallel demands."""
    model.train().zero_grad(set_to_none=True)
    data = batch(model, visible)
    loss, logged = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    assert torch.isfinite(loss)
    assert {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_keypoint'} <= logged.keys()
    # An untrained head is as good as chance over 56 x 56 cells: log(3136) is 8.05.
    assert 7 < logged['loss_keypoint'] < 12 if visible else logged['loss_keypoint'] == 0
    loss.backward()
    assert not [name for name, one in model.named_parameters() if one.grad is None]


def test_predictions(model):
    data = batch(model.eval(), True)
    with torch.no_grad():
        (sample,) = model.predict(data['inputs'], data['data_samples'])
    found = sample.pred_instances
    assert found.keypoints.shape == (len(found), 17, 2) and found.keypoint_scores.shape == (len(found), 17)
