"""Ops on boxes against references that are written out here in plain loops, in float64.

Where compiled mmcv is installed the same references test its ops, and ours are compared with it directly.
"""

import math
import sys

import numpy as np
import pytest
import torch
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


# --- Ties, and numbers that are not finite ---


def odd_boxes(kind, seed):
    boxes, scores = random_boxes(60, seed, dtype=torch.float32)
    generator = torch.Generator().manual_seed(seed)
    scores = (scores * 8).round() / 8
    if kind != 'ties':
        spoiled = torch.rand(60, 4, generator=generator) < 0.04
        boxes = boxes.masked_fill(spoiled, math.nan if kind == 'nan' else math.inf)
    if kind == 'nan':
        scores = scores.masked_fill(torch.rand(60, generator=generator) < 0.1, math.nan)
    return boxes, scores


def mmcv_iou(a, b, offset):
    """In float32 and with C++'s ``std::max``, which returns its first argument where the second is NaN."""
    with np.errstate(invalid='ignore', divide='ignore'):
        a, b, offset = np.float32(a), np.float32(b), np.float32(offset)
        area_a, area_b = ((v[2] - v[0] + offset) * (v[3] - v[1] + offset) for v in (a, b))
        width, height = (
            (b[k + 2] if b[k + 2] < a[k + 2] else a[k + 2]) - (b[k] if a[k] < b[k] else a[k]) + offset for k in (0, 1)
        )
        overlap = (width if width > 0 else np.float32(0)) * (height if height > 0 else np.float32(0))
        return overlap / (area_a + area_b - overlap)


@over_torchvision
@pytest.mark.parametrize('kind', ['ties', 'nan', 'inf'])
def test_nms_and_nms_match_are_mmcvs_loops_in_the_order_of_its_sort(kind):
    for seed in range(10):
        boxes, scores = odd_boxes(kind, seed)
        for offset in (0, 1):
            left, keep = scores.sort(descending=True)[1].tolist(), []
            while left:
                keep.append(left.pop(0))
                left = [i for i in left if not mmcv_iou(boxes[keep[-1]], boxes[i], offset) > np.float32(0.4)]
            assert mmcv_ops.nms(boxes, scores, 0.4, offset)[1].tolist() == keep
        left, groups = scores.sort(descending=True)[1].tolist(), []
        while left:
            best = left.pop(0)
            groups.append([best, *(i for i in left if mmcv_iou(boxes[best], boxes[i], 0) >= np.float32(0.4))])
            left = [i for i in left if i not in groups[-1]]
        found = mmcv_ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.4)
        assert [group.tolist() for group in found] == groups


@over_torchvision
def test_soft_nms_picks_a_nan_only_where_it_stands_first():
    boxes = torch.tensor([[0.0, 0, 4, 4], [10, 10, 14, 14], [20, 20, 24, 24]])
    for scores, expected in (([math.nan, 0.2, 0.9], [0, 2, 1]), ([0.2, math.nan, 0.9], [2, 1, 0])):
        assert mmcv_ops.soft_nms(boxes, torch.tensor(scores))[1].tolist() == expected


@over_torchvision
def test_ops_on_boxes_refuse_whole_numbers():
    boxes = torch.tensor([[0, 0, 4, 4], [1, 1, 5, 5]])
    for call in (
        lambda: mmcv_ops.nms(boxes, torch.rand(2), 0.5),
        lambda: mmcv_ops.soft_nms(boxes, torch.rand(2), 0.5),
        lambda: mmcv_ops.bbox_overlaps(boxes, boxes),
    ):
        with pytest.raises(
            TypeError, match=r"^mmcv's ops need floating point and got a tensor of torch.int64; convert"
        ):
            call()
