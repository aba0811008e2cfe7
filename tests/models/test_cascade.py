"""The cascade's RoI head: one mask head, on the last stage, and every parameter in the loss."""

import copy

import pytest
import torch
from conftest import ROOT
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import init_default_scope


@pytest.fixture(scope='module')
def model():
    register_all_modules()
    init_default_scope('mmdet')
    cfg = Config.fromfile(ROOT / 'configs/shapes/scratch_r18_gn_cascade_6x.py')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    with torch.no_grad():
        for head in model.roi_head.bbox_head:
            head.fc_cls.weight *= 20
    return model


def inputs(model, training: bool) -> dict:
    data = demo_mm_inputs(2, [[3, 128, 128], [3, 96, 128]], num_items=[3, 2], num_classes=5, with_mask=True)
    return model.data_preprocessor(copy.deepcopy(data), training)


def test_the_mask_is_trained_on_the_last_stages_boxes_with_its_own_weight(model, monkeypatch):
    model.train().zero_grad()
    head = model.roi_head
    stages = []
    bbox_loss = head.bbox_loss

    def remember(stage, x, sampling_results):
        stages.append((x, sampling_results))
        return bbox_loss(stage, x, sampling_results)

    monkeypatch.setattr(head, 'bbox_loss', remember)
    data = inputs(model, True)
    losses = model.loss(data['inputs'], data['data_samples'])
    assert [key for key in losses if 'mask' in key] == ['s2.loss_mask']
    assert {f's{stage}.loss_{kind}' for stage in range(3) for kind in ('cls', 'bbox')} < losses.keys()

    features, sampled = stages[2]
    assert sum(len(one.pos_priors) for one in sampled) > 0
    logits = head.mask_head(head.mask_roi_extractor(features, bbox2roi([one.pos_priors for one in sampled])))
    instances = [sample.gt_instances for sample in data['data_samples']]
    expected = head.mask_head.loss_and_target(logits, sampled, instances, head.train_cfg[2])['loss_mask']['loss_mask']
    torch.testing.assert_close(losses['s2.loss_mask'], expected)
    assert head.stage_loss_weights[2] == 0.25, 'which must not be in the loss of the mask'

    # Several processes wait for ever for a gradient that does not come.
    total, _ = model.parse_losses(losses)
    total.backward()
    assert not [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    model.zero_grad()


def test_each_stage_asks_for_a_higher_iou(model):
    thresholds = [assigner.pos_iou_thr for assigner in model.roi_head.bbox_assigner]
    assert thresholds == [assigner.neg_iou_thr for assigner in model.roi_head.bbox_assigner] == [0.5, 0.6, 0.7]
    assert all(head.reg_class_agnostic for head in model.roi_head.bbox_head)


@torch.no_grad()
def test_masks_are_those_of_the_one_head_on_the_final_boxes(model, monkeypatch):
    model.eval()
    head = model.roi_head
    asked = []
    forward = head.mask_head.forward

    def remember(features):
        asked.append(features)
        return forward(features)

    monkeypatch.setattr(head.mask_head, 'forward', remember)
    data = inputs(model, False)
    samples = model.predict(data['inputs'], data['data_samples'], rescale=False)
    found = [sample.pred_instances for sample in samples]
    assert min(map(len, found)) > 0
    assert all(one.masks.dtype == torch.bool and len(one.masks) == len(one.bboxes) for one in found)
    (features,) = asked
    rois = bbox2roi([one.bboxes for one in found])
    torch.testing.assert_close(features, head.mask_roi_extractor(model.extract_feat(data['inputs'])[:4], rois))


@torch.no_grad()
def test_raw_outputs(model):
    data = inputs(model.eval(), False)
    scores, deltas, masks = model._forward(data['inputs'], data['data_samples'])[-1]
    assert len(scores) == len(deltas) == 2 and scores[0].shape[1] == 6 and deltas[0].shape[1] == 4
    assert masks.shape == (sum(map(len, scores)), 5, 28, 28)


@torch.no_grad()
def test_one_view_of_test_time_augmentation_equals_plain_testing(model):
    data = demo_mm_inputs(2, [[3, 128, 128]] * 2, num_items=[3, 2], num_classes=5, with_mask=True)
    for sample in data['data_samples']:
        sample.set_metainfo(dict(scale_factor=(1.0, 1.0), ori_shape=(128, 128), img_shape=(128, 128)))
    plain = model.eval().test_step(copy.deepcopy(data))
    tta = MODELS.build(dict(type='DetectronTTAModel', module=model, tta_cfg=dict(vote=dict(iou=0.9))))
    alone = tta.test_step({key: [value] for key, value in data.items()})
    for one, other in zip(plain, alone, strict=True):
        assert len(one.pred_instances) > 0
        for key in ('bboxes', 'scores', 'labels', 'masks'):
            assert torch.equal(one.pred_instances[key], other.pred_instances[key]), key
