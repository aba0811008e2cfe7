"""What study C's detectors have of TF Vision, in float64 against formulas."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import InstanceData
from torch import nn
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def scope():
    register_all_modules()
    torch.manual_seed(0)


def config(name: str):
    return Config.fromfile(ROOT / f'configs/_base_/models/{name}.py').model


def huber(x, delta):
    x = np.abs(np.asarray(x))
    return np.where(x <= delta, x**2 / 2, delta * (x - delta / 2)).sum()


def normalised(x, eps=1e-4):
    """Statistics of the batch; scale 1 and shift 0."""
    axes = [0, *range(2, x.dim())]
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=False, keepdim=True) + eps).sqrt()


def swish(x):
    return x / (1 + torch.exp(-x))


# --- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('delta', [1.0, 1 / 9])
def test_a_box_loss_is_divided_by_the_coordinates_of_what_is_positive(delta):
    loss = MODELS.build(dict(type='WeightedMeanHuberLoss', delta=delta, loss_weight=3.0))
    pred, target = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1, 0, 0, 1, 0, 1, 0], dtype=torch.float64)[:, None].expand(7, 4)
    value = loss(pred, target, weight, avg_factor=512)
    positive = (pred - target).detach().numpy()[[0, 3, 5]]
    assert value.item() == pytest.approx(3 * huber(positive, delta) / (12 + 0.01), rel=1e-12)
    assert loss(pred, target, 0 * weight, avg_factor=512).item() == 0


def test_each_level_of_an_rpn_is_divided_by_its_own_positives():
    cfg = config('faster_rcnn_r50_fpn_swish')
    cfg.rpn_head.update(in_channels=8, feat_channels=8, train_cfg=cfg.train_cfg.rpn, test_cfg=cfg.test_cfg.rpn)
    head = revert_sync_batchnorm(MODELS.build(cfg.rpn_head)).double()
    sizes = [32, 16, 8, 4, 2]
    scores, deltas = head([torch.randn(2, 8, size, size, dtype=torch.float64) for size in sizes])
    boxes = torch.tensor([[10.0, 10, 60, 50], [100, 90, 230, 220], [70, 5, 100, 30]], dtype=torch.float64)
    objects = [
        InstanceData(bboxes=boxes, labels=torch.zeros(3, dtype=torch.long)),
        InstanceData(bboxes=boxes[:1], labels=torch.zeros(1, dtype=torch.long)),
    ]
    metas = [dict(img_shape=(256, 256), pad_shape=(256, 256))] * 2
    torch.manual_seed(3)
    found = head.loss_by_feat(scores, deltas, objects, metas)

    anchors, valid = head.get_anchors([(size, size) for size in sizes], metas, 'cpu')
    torch.manual_seed(3)
    targets = head.get_targets(anchors, valid, objects, metas)
    positives = []
    for level, (delta, target, weight) in enumerate(zip(deltas, targets[2], targets[3], strict=True)):
        mine = delta.permute(0, 2, 3, 1).reshape(2, -1, 4)
        chosen = weight[..., 0] > 0
        positives.append(int(chosen.sum()))
        expected = huber((mine - target)[chosen].detach(), 1 / 9) / (4 * positives[-1] + 0.01)
        assert found['loss_rpn_bbox'][level].item() == pytest.approx(expected, rel=1e-6)
    assert sum(count > 0 for count in positives) >= 2, 'or levels could share a divisor'


# --- cascade ---------------------------------------------------------------------------------------------------------

BOXES = [
    np.array([[20.0, 30, 120, 140], [150, 60, 240, 130], [40, 160, 100, 230]]),
    np.array([[60.0, 20, 220, 200]]),
]
LABELS = [np.array([3, 7, 3]), np.array([1])]


def overlaps(a, b):
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    area = [(one[:, 2:] - one[:, :2]).prod(-1) for one in (a, b)]
    return inter / (area[0][:, None] + area[1][None] - inter)


def centre(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]


def test_a_cascade_is_the_frameworks():
    """RoIs, labels and losses of three stages, from the outputs of the heads alone."""
    cfg = config('cascade_rcnn_r50_fpn_swish')
    head_cfg = cfg.roi_head
    head_cfg.bbox_roi_extractor.out_channels = 8
    for one in head_cfg.bbox_head:
        one.update(in_channels=8, conv_out_channels=8, fc_out_channels=16, num_classes=9)
    head = MODELS.build(dict(head_cfg, train_cfg=cfg.train_cfg.rcnn, test_cfg=cfg.test_cfg.rcnn))
    head = revert_sync_batchnorm(head).double()
    for one in head.bbox_head:
        nn.init.normal_(one.fc_reg.weight, std=0.2)
    seen = []
    forward = head._bbox_forward

    def remember(stage, x, rois):
        results = forward(stage, x, rois)
        seen.append((rois.numpy(), results['cls_score'].detach(), results['bbox_pred'].detach().numpy()))
        return results

    head._bbox_forward = remember
    # Boxes around the objects and anywhere: more than the 512 that are sampled.
    rng = np.random.default_rng(0)
    proposals, objects, samples = [], [], []
    for boxes, labels in zip(BOXES, LABELS, strict=True):
        near = np.repeat(boxes, 30, 0) + rng.normal(0, 9, (30 * len(boxes), 4))
        corner = rng.uniform(0, 180, (700, 2))
        near = np.concatenate([near, np.concatenate([corner, corner + rng.uniform(10, 70, (700, 2))], 1)])
        proposals.append(InstanceData(bboxes=torch.from_numpy(near)))
        objects.append(InstanceData(bboxes=torch.from_numpy(boxes), labels=torch.from_numpy(labels)))
        samples.append(_sample(objects[-1]))
    features = tuple(torch.randn(2, 8, size, size, dtype=torch.float64) for size in (32, 16, 8, 4, 2))
    losses = head.loss(features, proposals, samples)

    total = 0
    for stage, (iou, scale) in enumerate(zip((0.5, 0.7, 0.8), (10, 20, 30), strict=True)):
        rois, logits, deltas = seen[stage]
        assert [int((rois[:, 0] == image).sum()) for image in (0, 1)] == [512, 512], 'nothing added or left out'
        if stage == 0:
            # Ground truth is among the first stage's, and a quarter of these at most is positive.
            assert all((np.abs(rois[:, None, 1:] - boxes).max(-1) == 0).any(0).all() for boxes in BOXES)
        labels, targets = np.full(1024, 9), np.zeros((1024, 4))
        for image, (boxes, classes) in enumerate(zip(BOXES, LABELS, strict=True)):
            mine = np.flatnonzero(rois[:, 0] == image)
            found = overlaps(rois[mine, 1:], boxes)
            best = found.argmax(1)
            positive = found.max(1) >= iou
            labels[mine[positive]] = classes[best[positive]]
            (point, size), (there, extent) = centre(rois[mine, 1:]), centre(boxes[best])
            encoded = np.concatenate([scale * (there - point) / size, scale / 2 * np.log(extent / size)], 1)
            targets[mine[positive]] = encoded[positive]
        positive = labels < 9  # MMDetection encodes boxes in float32
        assert positive.sum() > 4 and (stage > 0 or positive.sum() <= 256)
        cross_entropy = -logits.log_softmax(1)[np.arange(1024), labels].mean().item()
        boxes_loss = huber((deltas - targets)[positive], 1.0) / (4 * positive.sum() + 0.01)
        assert losses[f's{stage}.loss_cls'].item() == pytest.approx(cross_entropy / 3, rel=1e-9)
        assert losses[f's{stage}.loss_bbox'].item() == pytest.approx(boxes_loss / 3, rel=1e-5)
        total += (cross_entropy + boxes_loss) / 3
        # All of them, decoded and clipped, are the next stage's.
        if stage < 2:
            point, size = centre(rois[:, 1:])
            point, size = point + deltas[:, :2] / scale * size, size * np.exp(2 * deltas[:, 2:] / scale)
            moved = np.concatenate([point - size / 2, point + size / 2], 1).clip(0, 256)
            for image in (0, 1):
                after = seen[stage + 1][0]
                after = after[after[:, 0] == image, 1:]
                assert np.allclose(_in_order(after), _in_order(moved[rois[:, 0] == image]), atol=1e-9)
    assert sum(value.item() for key, value in losses.items() if 'loss' in key) == pytest.approx(total, rel=1e-5)


def _sample(objects):
    from mmdet.structures import DetDataSample

    sample = DetDataSample(metainfo=dict(img_shape=(256, 256)))
    sample.gt_instances = objects
    return sample


def _in_order(boxes):
    return boxes[np.lexsort(boxes.T)]


# --- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['faster_rcnn_r50_fpn_swish', 'retinanet_r50_fpn'])
def test_an_fpn_normalises_its_outputs_alone(name):
    cfg = config(name)
    activate = swish if 'swish' in name else torch.relu
    eps = dict(faster_rcnn_r50_fpn_swish=1e-4, retinanet_r50_fpn=1e-3)[name]
    neck = MODELS.build(dict(cfg.neck, in_channels=[3, 4, 5, 6], out_channels=8))
    neck = revert_sync_batchnorm(neck).double().train()
    neck.init_weights()
    maps = [torch.randn(2, c, s, s, dtype=torch.float64) for c, s in zip((3, 4, 5, 6), (64, 32, 16, 8), strict=True)]
    lateral = [
        F.conv2d(x, conv.conv.weight, conv.conv.bias) for x, conv in zip(maps[1:], neck.lateral_convs, strict=True)
    ]
    for finer in (1, 0):
        lateral[finer] = lateral[finer] + lateral[finer + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    convs = [conv.conv for conv in neck.fpn_convs]
    outs = [F.conv2d(x, conv.weight, conv.bias, padding=1) for x, conv in zip(lateral, convs[:3], strict=True)]
    outs.append(F.conv2d(outs[-1], convs[3].weight, convs[3].bias, stride=2, padding=1))
    outs.append(F.conv2d(activate(outs[-1]), convs[4].weight, convs[4].bias, stride=2, padding=1))
    for found, out in zip(neck(maps), outs, strict=True):
        torch.testing.assert_close(found, normalised(out, eps))


def test_a_box_head_normalises_convolutions_and_fully_connected_layers():
    cfg = config('faster_rcnn_r50_fpn_swish').roi_head.bbox_head
    cfg.update(in_channels=4, conv_out_channels=4, fc_out_channels=6, roi_feat_size=3, num_classes=5)
    head = revert_sync_batchnorm(MODELS.build(cfg)).double().train()
    head.init_weights()
    x = torch.randn(7, 4, 3, 3, dtype=torch.float64)
    scores, deltas = head(x)
    assert len(head.shared_convs) == 4 and len(head.shared_fcs) == 2
    for conv in head.shared_convs:
        x = swish(normalised(F.conv2d(x, conv.conv.weight, padding=1)))
    x = x.flatten(1)
    for layer in head.shared_fcs:
        x = swish(normalised(x @ layer.weight.T + layer.bias))
    torch.testing.assert_close(scores, x @ head.fc_cls.weight.T + head.fc_cls.bias)
    torch.testing.assert_close(deltas, x @ head.fc_reg.weight.T + head.fc_reg.bias)


@pytest.mark.parametrize('convs', [1, 2])
def test_an_rpn_has_statistics_of_each_level(convs):
    head = MODELS.build(
        dict(
            type='SepBNRPNHead',
            in_channels=8,
            feat_channels=8,
            num_convs=convs,
            norm_cfg=dict(type='BN', eps=1e-4),
            act_cfg=dict(type='SiLU'),
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=[8, 16]),
        )
    )
    head = head.double().train()
    levels = [torch.randn(2, 8, 8, 8), 3 + 5 * torch.randn(2, 8, 4, 4)]
    levels = [one.double() for one in levels]
    scores, deltas = head(levels)
    assert [tuple(one.shape) for one in scores] == [(2, 3, 8, 8), (2, 3, 4, 4)]
    assert [tuple(one.shape) for one in deltas] == [(2, 12, 8, 8), (2, 12, 4, 4)]
    assert len(head.rpn_convs) == convs and not hasattr(head, 'rpn_conv')
    for level, score in zip(levels, scores, strict=True):
        for conv in head.rpn_convs:
            level = swish(normalised(F.conv2d(level, conv.weight, conv.bias, padding=1)))
        torch.testing.assert_close(score, head.rpn_cls(level))
    with pytest.raises(ValueError, match='argument'):
        head(levels[:1])


def test_roi_features_are_the_map_at_the_middle_of_each_cell():
    cfg = config('faster_rcnn_r50_fpn_swish').roi_head.bbox_roi_extractor
    extractor = MODELS.build(dict(cfg, out_channels=3))
    maps = [torch.randn(1, 3, size, size, dtype=torch.float64) for size in (32, 16, 8, 4, 2)]
    # 100 pixels on P3, 112 and 230 pixels on P3 and P4.
    boxes = torch.tensor([[20.0, 30, 120, 130], [8, 8, 120, 120], [10, 12, 240, 242]], dtype=torch.float64)
    found = extractor(maps, torch.cat([torch.zeros(3, 1, dtype=torch.float64), boxes], 1))
    for feature, (x1, y1, x2, y2), level in zip(found, boxes.tolist(), (0, 0, 1), strict=True):
        grid, stride = maps[level][0], 2 ** (3 + level)
        for row in range(7):
            for column in range(7):
                y = (y1 + (row + 0.5) * (y2 - y1) / 7) / stride
                x = (x1 + (column + 0.5) * (x2 - x1) / 7) / stride
                top, left, last = int(y), int(x), grid.shape[1] - 1
                down, right = min(top + 1, last), min(left + 1, last)
                expected = (1 - y + top) * ((1 - x + left) * grid[:, top, left] + (x - left) * grid[:, top, right])
                expected += (y - top) * ((1 - x + left) * grid[:, down, left] + (x - left) * grid[:, down, right])
                torch.testing.assert_close(feature[:, row, column], expected, rtol=1e-6, atol=1e-6)
