"""Ops on boxes: non-maximum suppression in its forms, and overlaps."""

import numpy as np
import torch
from torch import Tensor

from .precision import wide

__all__ = ['bbox_overlaps', 'nms', 'nms_match', 'softnms']


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression: a box goes when its IoU with a better kept one is above the threshold.

    Args:
        boxes: (N, 4), floating point.
        scores: (N,).
        iou_threshold: compared in float32, as mmcv does.
        offset: a box is ``x2 - x1 + offset`` wide; 1 is the convention of MMDetection 1.x.

    Returns:
        int64 (K,): the kept boxes, best first.
    """
    boxes, scores = wide(boxes), wide(scores)
    if offset:
        # A box whose last pixel is x2 ends at x2 + 1.
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    # mmcv sorts in this way, which leaves the order of equal scores open. torchvision's sort keeps the order it finds.
    scores, order = scores.sort(descending=True)
    # mmcv's threshold is a float; torchvision's, a double, would part from it where an IoU equals the threshold.
    keep = torch.ops.torchvision.nms(boxes[order], scores.to(boxes.dtype), float(np.float32(iou_threshold)))
    return order[keep]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017): overlapping boxes lose score instead of being dropped.

    Picks the best box, multiplies the scores of all others by a weight that depends on their IoU with it, drops those
    that fall below ``min_score``, and repeats. The first pick is kept whatever its score, as in mmcv.

    Args:
        boxes: (N, 4) on the CPU (mmcv moves them there).
        scores: (N,) on the CPU.
        dets: (N, 5), written in place: row ``i`` is the ``i``-th pick with the score it had then. Rows from K on are
            left as they are.
        iou_threshold: for methods 0 and 1: a weight applies from this IoU on.
        sigma: for method 2.
        min_score: score below which a box is dropped.
        method: 0, naive: weight 0; 1, linear: weight ``1 - IoU``; 2, gaussian: ``exp(-IoU**2 / sigma)``.
        offset: as in :func:`nms`.

    Returns:
        int64 (K,): the index of each pick in ``boxes``.

    Raises:
        ValueError: there is no such method.
    """
    if method not in (0, 1, 2):
        raise ValueError(f'softnms has no method {method}: use 0 (naive), 1 (linear) or 2 (gaussian).')
    # numpy: the loop below runs once per kept box on short arrays, where a call into torch costs several times more.
    boxes = wide(boxes.detach())
    array = boxes.cpu().numpy()
    real = array.dtype.type
    with np.errstate(invalid='ignore'):
        size = array[:, 2:] - array[:, :2] + real(offset)
    left = np.concatenate(
        [array, (size[:, 0] * size[:, 1])[:, None], scores.detach().to(boxes).cpu().numpy()[:, None]], axis=1
    )  # (n, 6): x1, y1, x2, y2, area, score of the boxes that are still in
    index = np.arange(len(left))
    iou_threshold, sigma, min_score = real(np.float32(iou_threshold)), real(sigma), real(np.float32(min_score))
    picked, picked_index = [], []
    while len(left):
        # A NaN is the best score where it stands first, and nowhere else: mmcv looks for a greater one.
        best = 0 if np.isnan(left[0, 5]) else np.where(np.isnan(left[:, 5]), -np.inf, left[:, 5]).argmax()
        top, top_index = left[best].copy(), index[best]
        picked.append(top)
        picked_index.append(top_index)
        # mmcv works in one array: the pick changes places with the first box, and a dropped box is overwritten by the
        # last. The same moves here, because the order decides which of two equal scores is picked first.
        left[best], index[best] = left[0], index[0]
        left, index = left[1:], index[1:]
        with np.errstate(invalid='ignore'):  # of boxes that are not finite
            size = np.minimum(top[2:4], left[:, 2:4]) - np.maximum(top[:2], left[:, :2]) + real(offset)
            overlap = np.fmax(size, 0).prod(axis=1)
            union = top[4] + left[:, 4] - overlap
            # Two boxes without any area overlap by 0 / 0: nothing.
            iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union != 0)
        if method == 2:
            left[:, 5] *= np.exp(-(iou * iou) / sigma)
        else:
            weight = 1 - iou if method == 1 else real(0)
            left[:, 5] *= np.where(iou >= iou_threshold, weight, real(1))
        keep = ~(left[:, 5] < min_score)
        if not keep.all():
            count = int(keep.sum())
            order = np.arange(count)
            order[~keep[:count]] = count + np.flatnonzero(keep[count:])[::-1]
            left, index = left[order], index[order]
    if picked:
        kept = torch.from_numpy(np.stack(picked))[:, [0, 1, 2, 3, 5]]
        dets[: len(picked)].copy_(kept)
    return torch.tensor(picked_index, dtype=torch.long, device=boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Non-maximum suppression that also says which boxes each kept one has suppressed (IoU not below the threshold).

    Args:
        dets: (N, 5), the boxes with their scores, on the CPU (mmcv moves them there).
        iou_threshold: compared in float32.

    Returns:
        One list per kept box, best first: its index, then those of the boxes it suppressed, best first.
    """
    dets = wide(dets)
    boxes = dets[:, :4].numpy()
    with np.errstate(invalid='ignore'):
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = dets[:, 4].sort(descending=True)[1].numpy()  # mmcv's order of equal scores
    groups = []
    while len(left):
        best, left = left[0], left[1:]
        # Of boxes that are not finite or have no area some of this is NaN, which suppresses nothing.
        with np.errstate(divide='ignore', invalid='ignore'):
            size = np.minimum(boxes[best, 2:], boxes[left, 2:]) - np.maximum(boxes[best, :2], boxes[left, :2])
            overlap = np.fmax(size, 0).prod(axis=1)
            gone = overlap / (area[best] + area[left] - overlap) >= np.float32(iou_threshold)
        groups.append([int(best), *left[gone].tolist()])
        left = left[~gone]
    return groups


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Overlaps of boxes.

    Args:
        bboxes1: (M, 4).
        bboxes2: (N, 4).
        ious: (M, N), or (M,) when aligned, written in place.
        mode: 0: intersection over union; 1: intersection over the area of the first box.
        aligned: compare box by box (M = N), not every pair.
        offset: as in :func:`nms`.
    """
    first, second = wide(bboxes1), wide(bboxes2)
    area1, area2 = ((b[:, 2] - b[:, 0] + offset) * (b[:, 3] - b[:, 1] + offset) for b in (first, second))
    if not aligned:
        first, area1 = first[:, None], area1[:, None]
    size = (
        torch.minimum(first[..., 2:], second[:, 2:]) - torch.maximum(first[..., :2], second[:, :2]) + offset
    ).clamp_(0, 2**31 - 1)
    overlap = size[..., 0] * size[..., 1]
    ious.copy_(overlap / (area1 + area2 - overlap if mode == 0 else area1))
