"""The heads with less work against MMDetection's, which they are put in the place of."""

import copy
import logging

import pytest
import rethink
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import BitmapMasks
from mmdet.testing import demo_mm_inputs
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from rethink.models import quick
from torch import nn

register_all_modules(init_default_scope=False)


@pytest.fixture(scope='module')
def pair():
    """The miniature's Mask R-CNN in float64, as it is and with the quick heads, of the same weights."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = Config.fromfile(rethink.config_path('shapes/scratch_r18_gn_6x.py'))
    cfg.model.roi_head.mask_head.loss_mask.loss_weight = 10.0
    level, root = logging.root.level, logging.getLogger()
    root.setLevel(logging.ERROR)
    plain = MODELS.build(cfg.model).double().train()
    root.setLevel(level)
    # Scores and boxes that differ from anchor to anchor.
    for module in (plain.rpn_head.rpn_cls, plain.rpn_head.rpn_reg):
        torch.nn.init.normal_(module.weight, std=0.3)
    quicker = copy.deepcopy(plain)
    quick.quicken(quicker)
    assert type(quicker.rpn_head) is quick.QuickRPNHead
    assert type(quicker.roi_head.mask_head) is quick.QuickFCNMaskHead
    return plain, quicker


def batch(model, objects=(3, 5), dtype=torch.float64, raw=False):
    sizes = [(3, 96, 128), (3, 80, 100)]
    inputs = demo_mm_inputs(len(sizes), sizes, num_items=list(objects), num_classes=5, with_mask=True)
    generator = torch.Generator().manual_seed(0)
    for sample, (_, height, width) in zip(inputs['data_samples'], sizes, strict=True):
        # Objects of a third of the image, with masks that are no rectangles.
        corner = torch.rand(len(sample.gt_instances), 2, generator=generator) * torch.tensor([width, height]) * 0.6
        side = torch.rand(len(corner), 2, generator=generator) * torch.tensor([width, height]) * 0.3 + 6
        sample.gt_instances.bboxes = torch.cat([corner, corner + side], 1)
        masks = (torch.rand(len(corner), height, width, generator=generator) > 0.4).to(torch.uint8).numpy()
        sample.gt_instances.masks = BitmapMasks(masks, height, width)
    return inputs if raw else prepared(model, inputs, dtype)


def prepared(model, inputs, dtype):
    data = model.data_preprocessor(inputs, True)
    data['inputs'] = data['inputs'].to(dtype)
    for sample in data['data_samples']:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.to(dtype)
    return data


@pytest.mark.parametrize(('objects', 'dtype'), [((3, 5), torch.float64), ((0, 4), torch.float32)])
def test_losses_and_gradients_are_mmdetections(pair, objects, dtype):
    pair = [copy.deepcopy(model).to(dtype) for model in pair]
    data = batch(pair[0], objects, dtype)
    losses = []
    for model in pair:
        torch.manual_seed(1)  # of the samplers
        model.zero_grad()
        losses.append(model(**copy.deepcopy(data), mode='loss'))
        model.parse_losses(losses[-1])[0].backward()
    for name, expected in losses[0].items():
        torch.testing.assert_close(losses[1][name], expected, rtol=0, atol=0, msg=name)
    assert losses[0]['loss_mask'] > 0
    for (name, one), two in zip(pair[0].named_parameters(), pair[1].parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize('more', [{}, dict(min_bbox_size=9), dict(nms_pre=-1), dict(nms=dict(type='soft_nms'))])
def test_proposals_are_mmdetections(pair, more):
    data = batch(pair[0])
    metas = [sample.metainfo for sample in data['data_samples']]
    cfg = Config(dict(pair[0].train_cfg.rpn_proposal, **more))
    outs = pair[0].rpn_head(pair[0].extract_feat(data['inputs']))
    found = [model.rpn_head.predict_by_feat(*outs, batch_img_metas=metas, cfg=cfg) for model in pair]
    for expected, one in zip(*found, strict=True):
        assert len(one) > 20
        for key in ('bboxes', 'scores', 'labels'):
            torch.testing.assert_close(one[key], expected[key], rtol=0, atol=0)


def test_proposals_in_mixed_precision_are_not_rounded_to_bfloat16(pair):
    cfg = Config(dict(pair[0].train_cfg.rpn_proposal))
    scores = [torch.randn(1, 3, n, n).bfloat16() for n in (256, 128, 64, 32)]
    deltas = [torch.zeros(1, 12, n, n).bfloat16() for n in (256, 128, 64, 32)]
    metas = [dict(img_shape=(1024, 1024))]
    plain, quicker = (
        model.rpn_head.predict_by_feat(scores, deltas, batch_img_metas=metas, cfg=cfg)[0].bboxes for model in pair
    )
    wide = RPNHead.predict_by_feat(
        pair[1].rpn_head,
        [one.float() for one in scores],
        [one.float() for one in deltas],
        batch_img_metas=metas,
        cfg=cfg,
    )[0].bboxes
    assert plain.dtype == torch.bfloat16 and quicker.dtype == torch.float32
    # What the scores are is the same; ties among them may be in another order.
    rows = {tuple(row) for row in wide.tolist()}
    assert sum(tuple(row) in rows for row in quicker.tolist()) > 0.9 * len(quicker)


def test_other_heads_are_left_alone(pair):
    class Own(FCNMaskHead):
        pass

    holder = torch.nn.ModuleList([Own(num_convs=0), FCNMaskHead(num_convs=0)])
    quick.quicken(holder)
    assert [type(one) for one in holder] == [Own, quick.QuickFCNMaskHead]


def listed(sample):
    return sorted(f'{name}: {value}' for name, value in sample.metainfo.items())


def test_a_batch_is_prepared_as_mmdetection_does_and_stays_what_it_was(pair):
    raw = batch(pair[0], raw=True)
    before = copy.deepcopy(raw)
    expected, found = (model.data_preprocessor(raw, True) for model in pair)
    assert torch.equal(found['inputs'], expected['inputs'])
    for one, two, old, new in zip(
        found['data_samples'], expected['data_samples'], before['data_samples'], raw['data_samples'], strict=True
    ):
        assert listed(one) == listed(two) and set(one.keys()) == set(two.keys())
        assert (one.gt_instances.masks.masks == two.gt_instances.masks.masks).all()
        assert torch.equal(one.gt_instances.bboxes, two.gt_instances.bboxes)
        assert listed(new) == listed(old) and 'batch_input_shape' in one.metainfo
        assert new.gt_instances.masks.masks.shape == old.gt_instances.masks.masks.shape
    assert new.gt_instances.masks.masks.shape != one.gt_instances.masks.masks.shape  # of 80 x 100 pixels, padded


def test_a_copy_of_a_sample_has_fields_of_its_own(pair):
    sample = batch(pair[0], raw=True)['data_samples'][0]
    shared = quick.SharingSample.of(sample)
    copied = copy.deepcopy(shared)
    copied.gt_instances.labels = torch.zeros_like(copied.gt_instances.labels) - 1
    copied.gt_instances.more = copied.gt_instances.labels
    copied.set_metainfo(dict(new=1))
    copied.pred_instances = copied.gt_instances
    for one in (sample, shared):
        assert (one.gt_instances.labels >= 0).all() and 'more' not in one.gt_instances
        assert 'new' not in one.metainfo and 'pred_instances' not in one
    assert copied.gt_instances.bboxes is sample.gt_instances.bboxes


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('window', [(3, 2, 1), (2, 2, 0), ((3, 2), (1, 2), (1, 0))])
def test_max_pooling_is_that_of_torch_to_the_bit(dtype, window):
    # Few values, so that most windows have equal ones, and what is no number.
    x = torch.randn(2, 3, 17, 12, generator=torch.Generator().manual_seed(0)).relu().mul(2).round().to(dtype)
    x[0, 0, 5, 5], x[1, 1, 3, 4] = float('nan'), float('-inf')
    plain = nn.Sequential(nn.MaxPool2d(*window, ceil_mode=window[1] == 2))
    quicker = nn.Sequential(nn.MaxPool2d(*window, ceil_mode=window[1] == 2))
    quick.quicken(quicker)
    assert type(quicker[0]) is quick.ChannelsLastMaxPool2d
    results = []
    for model in (plain, quicker):
        features = x.clone().requires_grad_()
        pooled = model(features)
        pooled.backward(torch.arange(pooled.numel()).view(pooled.shape).to(dtype))
        results.append((pooled.detach(), features.grad))
    for expected, found in zip(*results, strict=True):
        assert found.stride() == expected.stride() and found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_max_pooling_of_channels_last_features_and_of_indices_is_left_alone():
    model = nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True))
    quick.quicken(model)
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert model[0](x).is_contiguous(memory_format=torch.channels_last)
    assert model[0](x[0]).shape == (3, 4, 4)
    pooled, indices = model[1](x.contiguous())
    assert torch.equal(x.flatten(2).gather(2, indices.flatten(2)), pooled.flatten(2))
