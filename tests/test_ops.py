"""`rethink.ops` against references that are written out here in plain loops, in float64.

Where compiled mmcv is installed the same references test its ops, and ours are compared with it directly.
"""

import importlib.machinery
import importlib.util
import inspect
import math
import os
import re
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import rethink
import torch
import torch.nn.functional as F
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
over_torchvision = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed')
over_compiled = pytest.mark.skipif(ops.provided() != 'compiled', reason='compiled mmcv is not installed')


def random_boxes(count, seed=0, size=60.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * size
    extent = torch.rand(count, 2, generator=generator, dtype=torch.float64) * size / 2 + 1
    scores = torch.rand(count, generator=generator, dtype=torch.float64)
    return torch.cat([corner, corner + extent], 1).to(dtype), scores.to(dtype)


# --- References ---


def iou_of(a, b, offset):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    return width * height / (area_a + area_b - width * height)


def reference_nms(boxes, scores, threshold, offset):
    keep = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(iou_of(boxes[i], boxes[k], offset) <= threshold for k in keep):
            keep.append(i)
    return keep


def reference_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Works on one list as mmcv's kernel does: picks swap to the front, dropped boxes are replaced by the last."""
    rows = [(box, score, i) for i, (box, score) in enumerate(zip(boxes, scores, strict=True))]
    done = 0
    while done < len(rows):
        best = max(range(done, len(rows)), key=lambda r: rows[r][1])
        rows[done], rows[best] = rows[best], rows[done]
        at = done + 1
        while at < len(rows):
            box, score, i = rows[at]
            iou = iou_of(rows[done][0], box, offset)
            if method == 'gaussian':
                score *= math.exp(-(iou**2) / sigma)
            elif iou >= threshold:
                score *= 1 - iou if method == 'linear' else 0
            rows[at] = (box, score, i)
            if score < min_score:
                last = rows.pop()
                if at < len(rows):
                    rows[at] = last
            else:
                at += 1
        done += 1
    return [i for _, _, i in rows], [score for _, score, _ in rows]


def bilinear(image, y, x):
    """Value of a (C, H, W) image at one point: 0 further than a pixel outside, edge values up to there."""
    _, height, width = image.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(image))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return (
        image[:, top, left] * (1 - dy) * (1 - dx)
        + image[:, top, right] * (1 - dy) * dx
        + image[:, bottom, left] * dy * (1 - dx)
        + image[:, bottom, right] * dy * dx
    )


def reference_roi_align(features, rois, size, scale, ratio, aligned):
    height, width = size
    out = np.zeros((len(rois), features.shape[1], height, width))
    for r, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in box)
        w, h = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, 1), max(y2 - y1, 1))
        rows = ratio or math.ceil(h / height)
        columns = ratio or math.ceil(w / width)
        for i, j in np.ndindex(height, width):
            samples = [
                bilinear(
                    features[int(image)],
                    y1 + (i + (a + 0.5) / rows) * h / height,
                    x1 + (j + (b + 0.5) / columns) * w / width,
                )
                for a in range(rows)
                for b in range(columns)
            ]
            out[r, :, i, j] = np.mean(samples, axis=0) if samples else 0
    return out


def reference_sigmoid_focal(logits, target, gamma, alpha, weight=None):
    """Equation 5 of the paper with plain autograd operations."""
    one_hot = F.one_hot(target, logits.size(1) + 1)[:, :-1].to(logits)
    p = torch.sigmoid(logits)
    p_t = torch.where(one_hot == 1, p, 1 - p)
    alpha_t = one_hot * alpha + (1 - one_hot) * (1 - alpha)
    loss = -alpha_t * (1 - p_t) ** gamma * torch.log(p_t)
    if weight is not None:
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    return loss


# --- NMS ---


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.7])
def test_nms_is_greedy_suppression(threshold, offset):
    boxes, scores = random_boxes(120, dtype=torch.float32)
    expected = reference_nms(boxes.double().tolist(), scores.tolist(), threshold, offset)
    dets, keep = mmcv_ops.nms(boxes, scores, threshold, offset=offset)
    assert 5 < len(expected) < 120
    assert keep.tolist() == expected
    assert keep.dtype == torch.int64
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], 1)[keep])


def test_nms_offset_changes_what_is_suppressed():
    boxes = torch.tensor([[0.0, 0, 3, 3], [2, 0, 5, 3]])  # IoU 3/15 by extent, 8/24 by pixels
    scores = torch.tensor([0.9, 0.8])
    assert len(mmcv_ops.nms(boxes, scores, 0.3, offset=0)[1]) == 2
    assert len(mmcv_ops.nms(boxes, scores, 0.3, offset=1)[1]) == 1


@pytest.mark.parametrize('threshold', [0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
def test_nms_keeps_a_box_whose_iou_is_the_threshold(threshold):
    # IoU = threshold to the last bit of float32, of which some lie above the double that the user wrote.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, threshold * 10]])
    iou = float(np.float32(boxes[1, 3]) * np.float32(10) / np.float32(100))
    assert iou == float(np.float32(threshold))
    assert mmcv_ops.nms(boxes, torch.tensor([0.9, 0.8]), threshold)[1].tolist() == [0, 1]
    below = float(np.nextafter(np.float32(threshold), np.float32(0)))
    assert mmcv_ops.nms(boxes, torch.tensor([0.9, 0.8]), below)[1].tolist() == [0]


def test_nms_score_threshold_and_max_num():
    boxes, scores = random_boxes(60, dtype=torch.float32)
    keep = mmcv_ops.nms(boxes, scores, 0.5)[1]
    strong = keep[scores[keep] > 0.4]
    assert 3 < len(strong) < len(keep)
    assert mmcv_ops.nms(boxes, scores, 0.5, score_threshold=0.4)[1].tolist() == strong.tolist()
    assert mmcv_ops.nms(boxes, scores, 0.5, score_threshold=0.4, max_num=3)[1].tolist() == strong[:3].tolist()


def test_nms_of_numpy_arrays_gives_numpy_arrays():
    boxes, scores = random_boxes(20, dtype=torch.float32)
    dets, keep = mmcv_ops.nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and isinstance(keep, np.ndarray)
    assert keep.tolist() == reference_nms(boxes.tolist(), scores.tolist(), 0.5, 0)


@over_torchvision
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_nms_in_half_precision_is_that_of_the_same_numbers_in_float32(dtype):
    boxes, scores = random_boxes(80, dtype=dtype)
    dets, keep = mmcv_ops.nms(boxes, scores, 0.5, offset=1)
    assert dets.dtype == dtype
    assert keep.tolist() == mmcv_ops.nms(boxes.float(), scores.float(), 0.5, offset=1)[1].tolist()


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('op', ['nms', 'soft_nms'])
def test_nms_without_boxes(op, offset):
    dets, keep = getattr(mmcv_ops, op)(torch.zeros(0, 4), torch.zeros(0), 0.5, offset=offset)
    assert dets.shape == (0, 5) and keep.shape == (0,) and keep.dtype == torch.int64


def test_nms_leaves_its_inputs_alone():
    boxes, scores = random_boxes(40, dtype=torch.float32)
    before = boxes.clone(), scores.clone()
    mmcv_ops.nms(boxes, scores, 0.5, offset=1)
    mmcv_ops.soft_nms(boxes, scores, 0.5, offset=1)
    assert torch.equal(boxes, before[0]) and torch.equal(scores, before[1])


# --- Soft-NMS ---


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('min_score', [1e-3, 0.05, 0.4])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
@over_torchvision
def test_soft_nms(method, min_score, offset):
    boxes, scores = random_boxes(90, seed=1)
    expected, decayed = reference_soft_nms(
        boxes.tolist(), scores.tolist(), float(np.float32(0.3)), 0.5, float(np.float32(min_score)), method, offset
    )
    dets, keep = mmcv_ops.soft_nms(boxes, scores, 0.3, 0.5, min_score, method, offset)
    assert len(expected) > 3
    assert keep.tolist() == expected
    assert torch.equal(dets[:, :4], boxes[keep])
    assert torch.allclose(dets[:, 4], torch.tensor(decayed, dtype=torch.float64), rtol=1e-12)


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_in_float32(method):
    boxes, scores = random_boxes(90, seed=2, dtype=torch.float32)
    expected, decayed = reference_soft_nms(
        boxes.double().tolist(), scores.double().tolist(), 0.3, 0.5, 0.05, method, 0
    )
    dets, keep = mmcv_ops.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method)
    assert keep.tolist() == expected
    assert dets.dtype == torch.float32
    assert torch.allclose(dets[:, 4].double(), torch.tensor(decayed, dtype=torch.float64), rtol=1e-5)


@pytest.mark.parametrize('min_score', [0.0, 0.3])
def test_soft_nms_breaks_ties_as_mmcv_does(min_score):
    # Scores from a handful of values: which of two equals comes first depends on the moves inside mmcv's array.
    boxes, scores = random_boxes(70, seed=3, dtype=torch.float32)
    scores = (scores * 5).round() / 5
    expected, _ = reference_soft_nms(
        boxes.double().tolist(), scores.double().tolist(), 0.5, 0.5, min_score, 'naive', 0
    )
    keep = mmcv_ops.soft_nms(boxes, scores, 0.5, 0.5, min_score, 'naive')[1].tolist()
    assert keep == expected
    by_score = torch.sort(scores, descending=True, stable=True)[1]
    assert keep != [i for i in by_score.tolist() if i in keep], 'the case does not show the difference'


def test_soft_nms_keeps_the_first_pick_below_min_score():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 14, 14]])
    dets, keep = mmcv_ops.soft_nms(boxes, torch.tensor([0.01, 0.02]), min_score=0.5)
    assert keep.tolist() == [1]
    assert dets[0, 4] == pytest.approx(0.02)


@over_torchvision
def test_soft_nms_of_boxes_without_area():
    boxes = torch.tensor([[3.0, 1, 3, 1], [3, 1, 3, 1], [0, 0, 5, 5]])
    dets, keep = mmcv_ops.soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), method='gaussian')
    assert keep.tolist() == [0, 1, 2]
    assert dets[:, 4].tolist() == pytest.approx([0.9, 0.8, 0.7])


@over_torchvision
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_soft_nms_in_half_precision(dtype):
    boxes, scores = random_boxes(50, dtype=dtype)
    dets, keep = mmcv_ops.soft_nms(boxes, scores, 0.3)
    wide, wide_keep = mmcv_ops.soft_nms(boxes.float(), scores.float(), 0.3)
    assert dets.dtype == dtype
    assert keep.tolist() == wide_keep.tolist()
    assert torch.equal(dets, wide.to(dtype))


@over_torchvision
def test_soft_nms_says_which_methods_there_are():
    boxes, scores = random_boxes(2)
    with pytest.raises(ValueError, match=r'^softnms has no method 3: use 0 \(naive\), 1 \(linear\) or 2'):
        ops.softnms(boxes, scores, torch.zeros(2, 5), 0.5, 0.5, 0.0, 3, 0)


# --- Batched NMS, NMS match, overlaps ---


@pytest.mark.parametrize('split_thr', [10_000, 50], ids=['at once', 'class by class'])
@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_batched_nms_keeps_classes_apart(kind, split_thr):
    count, classes = 600, 80
    boxes, scores = random_boxes(count, seed=4, dtype=torch.float32)
    labels = torch.randint(classes, (count,), generator=torch.Generator().manual_seed(5))
    expected = {}
    for label in range(classes):
        rows = (labels == label).nonzero().flatten().tolist()
        if not rows:
            continue
        part, part_scores = boxes[rows].double().tolist(), scores[rows].double().tolist()
        if kind == 'nms':
            expected.update((rows[k], part_scores[k]) for k in reference_nms(part, part_scores, 0.3, 0))
        else:
            found = reference_soft_nms(part, part_scores, 0.3, 0.5, 0.2, 'linear', 0)
            expected.update((rows[k], score) for k, score in zip(*found, strict=True) if score >= 0.2)
    cfg = dict(type=kind, iou_threshold=0.3, split_thr=split_thr)
    if kind == 'soft_nms':
        cfg['min_score'] = 0.2
    dets, keep = mmcv_ops.batched_nms(boxes, scores, labels, cfg)
    strong = dets[:, 4] >= 0.2 if kind == 'soft_nms' else torch.ones(len(keep), dtype=torch.bool)
    keep, dets = keep[strong], dets[strong]
    assert sorted(keep.tolist()) == sorted(expected)
    assert torch.equal(dets[:, :4], boxes[keep])
    assert dets[:, 4].tolist() == pytest.approx([expected[k] for k in keep.tolist()], rel=1e-3)
    assert (dets[:-1, 4] >= dets[1:, 4]).all()


def test_batched_nms_class_agnostic():
    boxes, scores = random_boxes(200, seed=6, dtype=torch.float32)
    labels = torch.arange(200) % 7
    cfg = dict(type='nms', iou_threshold=0.4)
    keep = mmcv_ops.batched_nms(boxes, scores, labels, cfg, class_agnostic=True)[1].tolist()
    assert keep == reference_nms(boxes.double().tolist(), scores.tolist(), 0.4, 0)
    assert len(keep) < len(mmcv_ops.batched_nms(boxes, scores, labels, cfg)[1])


def test_batched_nms_max_num():
    boxes, scores = random_boxes(300, seed=7, dtype=torch.float32)
    labels = torch.arange(300) % 11
    whole = mmcv_ops.batched_nms(boxes, scores, labels, dict(type='nms', iou_threshold=0.4))[1]
    for split_thr in (10_000, 50):
        cfg = dict(type='nms', iou_threshold=0.4, max_num=9, split_thr=split_thr)
        assert mmcv_ops.batched_nms(boxes, scores, labels, cfg)[1].tolist() == whole[:9].tolist()


def test_nms_match_groups_every_box_once():
    boxes, scores = random_boxes(60, seed=8, dtype=torch.float32)
    groups = [group.tolist() for group in mmcv_ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.4)]
    kept = [group[0] for group in groups]
    assert kept == reference_nms(boxes.double().tolist(), scores.tolist(), 0.4, 0)
    assert sorted(sum(groups, [])) == list(range(60))
    for position, group in enumerate(groups):
        assert group == sorted(group, key=lambda i: -scores[i])
        for i in group[1:]:  # the first kept box that overlaps it is the one that suppressed it
            overlapping = [k for k in kept if iou_of(boxes[k].tolist(), boxes[i].tolist(), 0) >= 0.4]
            assert overlapping[0] == kept[position]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('mode', ['iou', 'iof'])
def test_bbox_overlaps(mode, offset):
    first, second = random_boxes(7, seed=1)[0], random_boxes(5, seed=2)[0]
    expected = [[iou_of(a, b, offset) for b in second.tolist()] for a in first.tolist()]
    if mode == 'iof':  # intersection / area of the first, from the intersection over union
        area = [[(x2 - x1 + offset) * (y2 - y1 + offset) for x1, y1, x2, y2 in b.tolist()] for b in (first, second)]
        expected = [
            [v / (1 + v) * (a + b) / a for v, b in zip(row, area[1], strict=True)]
            for row, a in zip(expected, area[0], strict=True)
        ]
    expected = torch.tensor(expected, dtype=torch.float64)
    assert (expected > 0).sum() > 4
    assert torch.allclose(mmcv_ops.bbox_overlaps(first, second, mode, offset=offset), expected)
    aligned = mmcv_ops.bbox_overlaps(first[:5], second, mode, aligned=True, offset=offset)
    assert torch.allclose(aligned, expected.diagonal())


# --- RoIAlign ---

# Inside, over the border, wholly outside, smaller than a feature pixel, without area.
ROIS = [
    [0, 2.3, 1.1, 18.9, 20.2],
    [1, -9.0, -7.5, 12.0, 9.0],
    [1, 20.0, 18.0, 70.0, 64.0],
    [0, 200.0, 200.0, 230.0, 240.0],
    [1, 8.2, 8.4, 8.9, 9.1],
    [0, 10.0, 10.0, 10.0, 10.0],
]


def features_of(dtype=torch.float64, seed=0):
    return torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
@pytest.mark.parametrize('size', [(3, 3), (2, 5)])
def test_roi_align(size, ratio, aligned):
    features, rois = features_of(), torch.tensor(ROIS, dtype=torch.float64)
    expected = reference_roi_align(features.numpy(), ROIS, size, 0.25, ratio, aligned)
    found = mmcv_ops.roi_align(features, rois, size, 0.25, ratio, 'avg', aligned)
    assert np.abs(expected[:3]).max() > 0.1
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_gradient(ratio, aligned):
    features, rois = features_of()[:, :2].requires_grad_(), torch.tensor(ROIS, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: mmcv_ops.roi_align(x, rois, (2, 3), 0.25, ratio, 'avg', aligned), features
    )


def test_roi_align_gradient_of_a_strided_output():
    features, rois = features_of().requires_grad_(), torch.tensor(ROIS, dtype=torch.float64)
    pooled = mmcv_ops.roi_align(features, rois, 3, 0.25, 2, 'avg', True)
    factor = torch.randn(3, 3, 3, len(ROIS), dtype=torch.float64).permute(3, 0, 2, 1)
    (strided,) = torch.autograd.grad(pooled, features, factor, retain_graph=True)
    (dense,) = torch.autograd.grad(pooled, features, factor.contiguous())
    assert torch.equal(strided, dense)
    # RoIAlign is linear, so its gradient is its transpose, to the last digits of float64.
    assert (features * dense).sum().item() == pytest.approx((pooled * factor).sum().item(), rel=1e-12)


def test_roi_align_without_rois():
    features = features_of().requires_grad_()
    pooled = mmcv_ops.roi_align(features, torch.zeros(0, 5, dtype=torch.float64), 3, 0.25, 2, 'avg', True)
    assert pooled.shape == (0, 3, 3, 3)
    pooled.sum().backward()
    assert features.grad.shape == features.shape and not features.grad.any()


@over_torchvision
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('rois_dtype', [torch.float32, None])
def test_roi_align_in_half_precision_is_the_rounded_float32_one(dtype, rois_dtype):
    rois = torch.tensor(ROIS, dtype=rois_dtype or dtype)
    half = features_of(dtype).requires_grad_()
    wide = half.detach().float().requires_grad_()
    factor = torch.randn(len(ROIS), 3, 3, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    pooled = mmcv_ops.roi_align(half, rois, 3, 0.25, 2, 'avg', True)
    expected = mmcv_ops.roi_align(wide, rois.float(), 3, 0.25, 2, 'avg', True)
    assert pooled.dtype == dtype
    assert torch.equal(pooled, expected.to(dtype))
    pooled.backward(factor)
    expected.backward(factor.float())
    assert half.grad.dtype == dtype
    assert torch.equal(half.grad, wide.grad.to(dtype)) and half.grad.any()


@over_torchvision
def test_roi_align_sums_many_gradients_in_float32():
    # 4096 RoIs over one pixel: in bfloat16 the sum would stop growing at 256.
    features = torch.ones(1, 1, 4, 4, dtype=torch.bfloat16).requires_grad_()
    rois = torch.tensor([[0.0, 1, 1, 3, 3]]).repeat(4096, 1)
    mmcv_ops.roi_align(features, rois, 1, 1.0, 1, 'avg', True).sum().backward()
    assert features.grad.sum() == 4096


@over_torchvision
def test_ops_under_autocast():
    convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
    image = features_of(torch.float32)
    rois = torch.tensor(ROIS)
    with torch.autocast('cpu', torch.bfloat16):
        features = convolution(image)
        pooled = mmcv_ops.roi_align(features, rois, 2, 0.25, 0, 'avg', True)
        logits = pooled.flatten(1)
        loss = mmcv_ops.sigmoid_focal_loss(logits, torch.arange(len(ROIS)), 2.0, 0.25, None, 'sum')
    assert features.dtype == pooled.dtype == torch.bfloat16
    expected = mmcv_ops.roi_align(features.detach().float(), rois, 2, 0.25, 0, 'avg', True)
    assert torch.equal(pooled, expected.bfloat16())
    loss.backward()
    assert convolution.weight.grad.dtype == torch.float32
    assert convolution.weight.grad.isfinite().all() and convolution.weight.grad.any()


@over_torchvision
def test_roi_align_says_that_max_pooling_is_not_there():
    with pytest.raises(NotImplementedError, match="^roi_align with pool_mode='max' is not among"):
        mmcv_ops.roi_align(features_of(), torch.tensor(ROIS, dtype=torch.float64), 3, 0.25, 2, 'max', True)


# --- Focal losses ---

TARGET = torch.tensor([0, 4, 2, 5, 1, 5, 3, 0])  # of five classes: 5 is background


def logits_of(dtype=torch.float64):
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).to(dtype)


def class_weights():
    return torch.tensor([0.5, 1.0, 2.0, 3.0, 0.25], dtype=torch.float64)


@over_torchvision  # compiled mmcv has no focal loss on the CPU
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5)])
def test_sigmoid_focal_loss(gamma, alpha, weighted, reduction):
    weight = class_weights() if weighted else None
    logits, reference = logits_of().requires_grad_(), logits_of().requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(logits, TARGET, gamma, alpha, weight, reduction)
    expected = reference_sigmoid_focal(reference, TARGET, gamma, alpha, weight)
    # mmcv's mean is over the rows
    expected = {'none': expected, 'mean': expected.sum() / 8, 'sum': expected.sum()}[reduction]
    assert torch.allclose(loss, expected, rtol=1e-10)
    factor = torch.rand(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss.backward(factor)
    expected.backward(factor)
    assert torch.allclose(logits.grad, reference.grad, rtol=1e-9)


@over_torchvision
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_sigmoid_focal_loss_gradient(gamma):
    logits = logits_of().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: mmcv_ops.sigmoid_focal_loss(x, TARGET, gamma, 0.25, class_weights(), 'none'), logits
    )


@over_torchvision
def test_sigmoid_focal_loss_of_extreme_logits():
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, 0.0]]).requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, 'none')
    # Wrong by 200: the loss is alpha_t * 200; right by 200: none.
    assert torch.allclose(loss, torch.tensor([[150.0, 50.0, 150.0, 0.0, 0.75 * 0.25 * math.log(2)]]))
    loss.sum().backward()
    assert torch.allclose(logits.grad[0, :4], torch.tensor([0.75, -0.25, 0.75, 0.0]))


@over_torchvision
@pytest.mark.parametrize('op', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_focal_losses_of_no_rows(op):
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = getattr(mmcv_ops, op)(logits, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss == 0 and logits.grad.shape == (0, 5)


@over_torchvision
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_sigmoid_focal_loss_in_half_precision_is_the_rounded_float32_one(dtype):
    half, wide = logits_of(dtype).requires_grad_(), logits_of(dtype).float().requires_grad_()
    loss = mmcv_ops.sigmoid_focal_loss(half, TARGET, 2.0, 0.25, None, 'none')
    expected = mmcv_ops.sigmoid_focal_loss(wide, TARGET, 2.0, 0.25, None, 'none')
    assert loss.dtype == dtype and torch.equal(loss, expected.to(dtype))
    loss.backward(torch.ones_like(loss))
    expected.backward(torch.ones_like(expected))
    assert half.grad.dtype == dtype and torch.equal(half.grad, wide.grad.to(dtype))


@over_torchvision
def test_mmdet_focal_loss_on_cpu_and_mmcv_op_agree():
    losses = pytest.importorskip('mmdet.models.losses')
    loss = losses.FocalLoss(use_sigmoid=True, gamma=2.0, alpha=0.25, reduction='sum')
    logits = logits_of(torch.float32)
    op = mmcv_ops.sigmoid_focal_loss(logits, TARGET, 2.0, 0.25, None, 'sum')
    assert torch.allclose(loss(logits, TARGET), op)


@over_torchvision
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss(gamma, weighted):
    target = torch.tensor([0, 4, 2, 3, 1, 1, 3, 0])
    weight = class_weights() if weighted else None
    logits, reference = logits_of().requires_grad_(), logits_of().requires_grad_()
    loss = mmcv_ops.softmax_focal_loss(logits, target, gamma, 0.25, weight, 'sum')
    p = reference.softmax(1)[torch.arange(8), target]
    expected = (-0.25 * (1 - p) ** gamma * p.log() * (weight[target] if weighted else 1)).sum()
    assert torch.allclose(loss, expected, rtol=1e-10)
    loss.backward()
    expected.backward()
    assert torch.allclose(logits.grad, reference.grad, rtol=1e-9)


@over_torchvision
@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss_of_a_certain_row_has_a_finite_gradient(gamma):
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]], requires_grad=True)
    mmcv_ops.softmax_focal_loss(logits, torch.tensor([0, 1]), gamma, 0.25, None, 'sum').backward()
    assert torch.allclose(logits.grad, torch.zeros(2, 2), atol=1e-6)


# --- Deformable convolution ---


def deformable(kind, groups=1, deform_groups=1, stride=1):
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return (torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()

    side = 5 if stride == 1 else 3
    tensors = [rand(2, 4, 5, 5), rand(2, 2 * deform_groups * 9, side, side)]
    if kind == 'modulated':
        tensors += [rand(2, deform_groups * 9, side, side), rand(2, 4 // groups, 3, 3), rand(2)]
        return lambda *t: mmcv_ops.modulated_deform_conv2d(*t, stride, 1, 1, groups, deform_groups), tensors
    tensors.append(rand(2, 4 // groups, 3, 3))
    return lambda *t: mmcv_ops.deform_conv2d(*t, stride, 1, 1, groups, deform_groups), tensors


@pytest.mark.parametrize('kind', ['plain', 'modulated'])
def test_deform_conv_with_whole_offsets_is_a_shifted_convolution(kind):
    function, tensors = deformable(kind)
    image, weight = tensors[0], tensors[3 if kind == 'modulated' else 2]
    offset = torch.zeros_like(tensors[1])
    offset[:, 0::2], offset[:, 1::2] = 1, -2  # one row down, two columns to the left
    shifted = F.pad(image, (3, 0, 0, 2))[..., :7]  # rows 0 to 6 and columns -3 to 3: the padding moves as well
    expected = F.conv2d(shifted, weight)
    if kind == 'modulated':
        half = torch.full_like(tensors[2], 0.5)
        found = function(image, offset, half, weight, tensors[4])
        expected = expected / 2 + tensors[4][:, None, None]
    else:
        found = function(image, offset, weight)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize('kind', ['plain', 'modulated'])
@pytest.mark.parametrize(('groups', 'deform_groups', 'stride'), [(1, 1, 1), (2, 2, 2)])
def test_deform_conv_gradients(kind, groups, deform_groups, stride):
    function, tensors = deformable(kind, groups, deform_groups, stride)
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)


@over_torchvision
def test_deform_conv_in_half_precision_is_the_rounded_float32_one():
    function, tensors = deformable('modulated')
    half = [tensor.detach().bfloat16() for tensor in tensors]
    found = function(*half)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, function(*[tensor.float() for tensor in half]).bfloat16())


# --- The module in mmcv's place ---


@over_torchvision
def test_everything_that_looks_for_compiled_ops_finds_them():
    import mmcv
    from mmengine.utils.dl_utils import mmcv_full_available

    spec = importlib.util.find_spec('mmcv._ext')
    module = sys.modules['mmcv._ext']
    assert spec is module.__spec__ and spec.name == 'mmcv._ext' and spec.loader is module.__loader__
    assert module.__package__ == 'mmcv'
    assert mmcv._ext is module
    assert mmcv_full_available()
    assert repr(module).startswith("<module 'mmcv._ext' (")


@over_torchvision
def test_environment_report_says_what_the_ops_are():
    import torchvision

    assert mmcv_ops.get_compiler_version() == (
        f'not compiled: torchvision {torchvision.__version__} through rethink.ops'
    )
    assert mmcv_ops.get_compiling_cuda_version().startswith('not compiled: ')


@over_torchvision
def test_the_module_has_what_ops_lists():
    module = sys.modules['mmcv._ext']
    assert len(set(ops.OPS)) == len(ops.OPS)
    for name in ops.OPS:
        assert getattr(module, name) is getattr(ops, name)
    with pytest.raises(NotImplementedError, match="mmcv's op 'roi_pool_forward' is not among"):
        module.roi_pool_forward()  # torchvision rounds RoIs to whole pixels, mmcv does not


@pytest.mark.parametrize('name', sorted(ops.OPS))
def test_arguments_are_those_of_mmcv(name):
    source = Path(mmcv_ops.__file__).parent / 'csrc/pytorch/pybind.cpp'
    if not source.is_file():
        pytest.skip('this mmcv comes without its C++ sources')
    definition = re.search(rf'm[.]def\(\s*"{name}",(.*?);', source.read_text(), re.DOTALL)
    assert list(inspect.signature(getattr(ops, name)).parameters) == re.findall(r'py::arg\("(\w+)"\)', definition[1])


@over_torchvision
def test_an_op_that_is_not_there_says_which_and_what_to_do():
    with pytest.raises(NotImplementedError) as caught:
        mmcv_ops.roi_pool(torch.rand(1, 4, 4, 4), torch.rand(1, 5), 2)
    message = str(caught.value)
    assert message.startswith("mmcv's op 'roi_pool_forward' is not among those that rethink.ops provides")
    assert 'pip install' in message and 'onedl-mmcv' in message and '\n' not in message
    assert message.count('. ') == 0 and message.endswith('.')


@over_torchvision
def test_the_module_has_no_special_names_that_it_does_not_have():
    module = sys.modules['mmcv._ext']
    for name in ('__path__', '__file__', '__wrapped__', '__all__', '_private'):
        with pytest.raises(AttributeError, match=name):
            getattr(module, name)


def test_install_again_changes_nothing():
    before, count = sys.modules['mmcv._ext'], len(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert ops.install() == ops.install() == ops.provided()
    assert sys.modules['mmcv._ext'] is before and len(sys.modules) == count
    assert rethink.ops is ops


@over_compiled
def test_against_compiled_nms_and_soft_nms():
    for seed in range(5):
        boxes, scores = random_boxes(200, seed, dtype=torch.float32)
        compiled = sys.modules['mmcv._ext']
        for offset in (0, 1):
            assert torch.equal(ops.nms(boxes, scores, 0.5, offset), compiled.nms(boxes, scores, 0.5, offset))
            for method in range(3):
                ours, theirs = boxes.new_zeros(200, 5), boxes.new_zeros(200, 5)
                arguments = (0.3, 0.5, 0.05, method, offset)
                inds = ops.softnms(boxes, scores, ours, *arguments)
                assert torch.equal(inds, compiled.softnms(boxes, scores, theirs, *arguments))
                assert torch.allclose(ours[: len(inds)], theirs[: len(inds)], rtol=1e-5)


@over_compiled
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_against_compiled_roi_align(ratio, aligned):
    compiled = sys.modules['mmcv._ext']
    features, rois = features_of(torch.float32), torch.tensor(ROIS)
    shape = (3, 3, 0.25, ratio, 1, aligned)
    none = torch.zeros(0)
    outputs, grads = [], []
    for module in (ops, compiled):
        outputs.append(torch.zeros(len(ROIS), 3, 3, 3))
        module.roi_align_forward(features, rois, outputs[-1], none, none, *shape)
        grads.append(torch.zeros_like(features))
        module.roi_align_backward(outputs[0].contiguous(), rois, none, none, grads[-1], *shape)
    assert torch.allclose(*outputs, atol=1e-5) and torch.allclose(*grads, atol=1e-5)


# --- What else may be installed ---


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A fresh copy of rethink.ops, and a folder in front of the installed packages where nothing knows mmcv yet."""
    for name in list(sys.modules):
        if name.partition('.')[0] == 'mmcv':
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location('ops_elsewhere', ops.__file__)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv/__init__.py').touch()
    return module, tmp_path / 'mmcv'


def test_a_compiled_extension_that_loads_is_left_alone(elsewhere):
    module, package = elsewhere
    (package / '_ext.py').write_text("def nms():\n    return 'compiled'\n")
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module.install() == module.install() == module.provided() == 'compiled'
    import mmcv._ext

    assert mmcv._ext.__file__ == str(package / '_ext.py')
    assert mmcv._ext.nms() == 'compiled' and not hasattr(mmcv._ext, 'softnms')


def test_a_compiled_extension_that_does_not_load_is_replaced_with_one_warning(elsewhere):
    module, package = elsewhere
    (package / f'_ext{importlib.machinery.EXTENSION_SUFFIXES[0]}').write_bytes(b'not a shared object')
    with pytest.warns(UserWarning) as caught:
        assert module.install() == module.install() == module.provided() == 'torchvision'
    (message,) = {str(warning.message) for warning in caught}
    assert len(caught) == 1
    assert message.startswith(f"mmcv's compiled ops do not load beside torch {torch.__version__} (")
    assert 'rethink.ops uses torchvision in their place' in message and '\n' not in message
    import mmcv._ext

    assert mmcv._ext.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.ones(1), 0.5, 0).tolist() == [0]


def test_no_extension_is_replaced_without_a_word(elsewhere):
    module, _ = elsewhere
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert module.install() == module.provided() == 'torchvision'
    import mmcv._ext

    assert mmcv._ext is sys.modules['mmcv._ext'] and mmcv._ext.__spec__.origin == 'ops_elsewhere'


def test_an_error_inside_a_compiled_extension_is_not_taken_for_a_missing_one(elsewhere):
    module, package = elsewhere
    (package / '_ext.py').write_text('import a_module_that_it_needs\n')
    with pytest.raises(ModuleNotFoundError, match="^No module named 'a_module_that_it_needs'$"):
        module.install()
    assert 'mmcv._ext' not in sys.modules


def test_no_mmcv_is_one_sentence(elsewhere):
    module, package = elsewhere
    (package / '__init__.py').write_text("raise ModuleNotFoundError('No module', name='mmcv')\n")
    with pytest.raises(ImportError, match='^rethink needs mmcv: `pip install .*` brings it[.]$'):
        module.install()


def test_a_torchvision_that_does_not_import_is_one_sentence(elsewhere, monkeypatch):
    module, package = elsewhere
    (package.parent / 'torchvision.py').write_text(
        "raise RuntimeError('operator torchvision::nms does not exist\\nmore')\n"
    )
    monkeypatch.delitem(sys.modules, 'torchvision')
    with pytest.raises(ImportError) as caught:
        module.install()
    assert str(caught.value) == (
        f'The installed torchvision has no compiled ops for torch {torch.__version__} (operator torchvision::nms does '
        'not exist); install both together from PyPI with `pip install --force-reinstall torch torchvision`.'
    )
    assert 'mmcv._ext' not in sys.modules


# --- Fresh interpreters ---


def run(code, path=None):
    """Exit status and error output of a program in another interpreter, ``path`` before the installed packages."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    if path is not None:
        environment['PYTHONPATH'] = os.pathsep.join([str(path), *filter(None, [os.environ.get('PYTHONPATH')])])
    process = subprocess.run(
        [sys.executable, '-W', 'always', '-c', textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return process.returncode, process.stderr


def test_import_is_silent():
    status, error = run(
        """
        import rethink
        import mmcv.ops, mmcv.cnn.bricks.transformer
        assert mmcv.cnn.bricks.transformer.MultiScaleDeformableAttention
        """
    )
    assert status == 0, error
    assert 'Fail to import' not in error and 'not compiled' not in error


@over_torchvision
def test_stand_ins_that_were_imported_before_are_replaced():
    mmdet = pytest.importorskip('mmdet')
    if mmdet.__version__ == '3.3.0':
        pytest.skip('classic mmdet cannot be imported without ops')
    status, error = run(
        """
        from mmdet.structures.mask import structures
        before = structures.roi_align
        import rethink, mmcv.ops
        assert before is not mmcv.ops.roi_align
        assert structures.roi_align is mmcv.ops.roi_align
        """
    )
    assert status == 0, error


def test_a_torchvision_without_ops_is_one_sentence(tmp_path):
    (tmp_path / 'mmcv.py').touch()
    (tmp_path / 'torchvision.py').write_text("__version__ = '0.0+cpu'\n")
    status, error = run(
        f"""
        import importlib.util, sys
        spec = importlib.util.spec_from_file_location('ops', {str(ops.__file__)!r})
        ops = sys.modules['ops'] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ops)
        ops.install()
        """,
        tmp_path,
    )
    last = error.rstrip().splitlines()[-1]
    assert status == 1
    assert last.startswith('ImportError: The installed torchvision has no compiled ops for torch ')
    assert '(no torchvision::nms); install both together' in last
