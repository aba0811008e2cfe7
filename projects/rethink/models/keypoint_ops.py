"""From keypoints to cells of a heat map and back, as in Mask R-CNN (He et al. 2017, section 5) and Detectron.

A RoI of any size is divided into S x S cells, and a keypoint is one of them. Coordinates are continuous, as those of
boxes; cell c of S along a side of length L covers [c, c + 1) * L / S from the RoI's top left corner.
"""

import torch
from torch import Tensor

# Cells of enlarged heat maps that are held at once while decoding: 64 MB in float32.
_CELLS_AT_ONCE = 1 << 24


def encode_keypoints(keypoints: Tensor, rois: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The cell of each keypoint in the heat map of its RoI (Detectron's ``keypoints_to_heatmap_labels``).

    Args:
        keypoints: (N, K, 3), x, y and visibility, one person for each RoI.
        rois: (N, 4), x1, y1, x2, y2.
        size: S, cells along a side.

    Returns:
        Cells as ``row * S + column``, int64 of (N, K), and which of them count, bool of (N, K): labelled keypoints
        (hidden ones too) inside the RoI. The RoI's right and bottom edges belong to the last cells. Cells that do
        not count are 0.
    """
    keypoints, rois = keypoints.float(), rois.float()
    corner, extent = rois[:, None, :2], (rois[:, 2:] - rois[:, :2])[:, None]
    # Divided before multiplying, as the oracle in the tests does: the last bit decides at the border of a cell.
    cells = ((keypoints[..., :2] - corner) * (size / extent)).floor()
    cells = torch.where(keypoints[..., :2] == rois[:, None, 2:], cells.new_full((), size - 1), cells)
    # A RoI without extent makes NaN, which no comparison lets pass.
    valid = ((cells >= 0) & (cells < size)).all(-1) & (keypoints[..., 2] > 0)
    column, row = torch.where(valid[..., None], cells, cells.new_zeros(())).long().unbind(-1)
    return row * size + column, valid


def cubic_weights(sizes: Tensor, length: int, source: int) -> Tensor:
    """Bicubic interpolation of a line of ``source`` cells to lines of other lengths, as matrices.

    The kernel is Keys' with a = -0.75, edges are repeated, as in :func:`torch.nn.functional.interpolate` with
    ``align_corners=False``.

    Args:
        sizes: (N,), the lengths.
        length: rows of the result, at least the largest of ``sizes``; rows from a line's own size on mean nothing.
        source: cells of the line.

    Returns:
        float32 of (N, length, source), each row of which adds up to 1.
    """
    at = torch.arange(length, device=sizes.device, dtype=torch.float32)
    at = (at + 0.5) * (source / sizes.float())[:, None] - 0.5
    first = at.floor()
    # Of the four taps around a position, at distances 1 + t, t, 1 - t and 2 - t.
    t = (at - first)[..., None]
    distance = torch.cat([1 + t, t, 1 - t, 2 - t], -1)
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    taps = torch.where(distance <= 1, near, far)
    places = (first[..., None].long() + torch.arange(-1, 3, device=sizes.device)).clamp(0, source - 1)
    return taps.new_zeros(len(sizes), length, source).scatter_add_(-1, places, taps)


def decode_keypoints(maps: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints from heat maps (Detectron's ``heatmaps_to_keypoints``): enlarge each map to the size of its RoI in
    pixels, bicubically, and take the middle of the highest pixel.

    All people and keypoints are enlarged together, by one matrix product for each side; people of about one size are
    taken in parts that bound the memory.

    Args:
        maps: (N, K, S, S), logits.
        rois: (N, 4), x1, y1, x2, y2; a side shorter than a pixel counts as one.

    Returns:
        x and y, float32 of (N, K, 2), and the enlarged logit there, float32 of (N, K). There is no softmax: scores
        are comparable between people, and not between 0 and 1.
    """
    number, kinds, source = maps.shape[:3]
    points, scores = rois.new_zeros(number, kinds, 2, dtype=torch.float32), maps.new_zeros(number, kinds).float()
    extent = (rois[:, 2:] - rois[:, :2]).float().clamp(min=1)
    pixels = extent.ceil().long()
    with torch.autocast(maps.device.type, enabled=False):
        for part in _parts(pixels.tolist(), kinds):
            part = torch.tensor(part, device=maps.device)
            width, height = pixels[part].unbind(-1)
            across, down = (cubic_weights(side, int(side.max()), source) for side in (width, height))
            large = down[:, None] @ maps[part].float() @ across[:, None].transpose(-1, -2)
            # Of smaller people than the largest, what lies beyond the RoI.
            beyond_x = torch.arange(large.shape[-1], device=maps.device) >= width[:, None]
            beyond_y = torch.arange(large.shape[-2], device=maps.device) >= height[:, None]
            large.masked_fill_((beyond_x[:, None] | beyond_y[:, :, None])[:, None], -torch.inf)
            scores[part], place = large.flatten(2).max(-1)
            found = torch.stack([place % large.shape[-1], place // large.shape[-1]], -1)
            cell = (extent[part] / pixels[part])[:, None]
            points[part] = (found + 0.5) * cell + rois[part, None, :2].float()
    return points, scores


def _parts(sizes: list[list[int]], kinds: int) -> list[list[int]]:
    """Indices of people in parts, none of which needs more than the limit of cells unless it is one person."""
    parts, largest = [], [0, 0]
    for index in sorted(range(len(sizes)), key=lambda one: sizes[one]):
        grown = [max(pair) for pair in zip(largest, sizes[index], strict=True)]
        if not parts or (len(parts[-1]) + 1) * kinds * grown[0] * grown[1] > _CELLS_AT_ONCE:
            parts.append([])
            grown = sizes[index]
        parts[-1].append(index)
        largest = grown
    return parts
