"""RoIAlign and deformable RoI pooling.

torchvision's op reads outside the features where an RoI is not finite or names an image that is not there, and writes
there in its backward function. Such RoIs stop here on a CPU. On a GPU, where looking would make the program wait for
the GPU at every call, their features are NaN, as mmcv's are for a NaN.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import HOW_TO_COMPILE
from .precision import wide

__all__ = ['deform_roi_pool_backward', 'deform_roi_pool_forward', 'roi_align_backward', 'roi_align_forward']

MOST_SAMPLES = 2**26
"""Samples of one RoI in each channel, which are 2 GB of memory in the kernel on a CPU."""


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al., Mask R-CNN, section 3): the mean of bilinear samples in each bin of each RoI.

    Args:
        input: (B, C, H, W) features.
        rois: (R, 5), in image pixels.
        output: (R, C, aligned_height, aligned_width), written in place.
        argmax_y: not used (max pooling only).
        argmax_x: not used (max pooling only).
        aligned_height: bins per column.
        aligned_width: bins per row.
        spatial_scale: feature pixels per image pixel.
        sampling_ratio: samples per bin and direction; 0: as many as the bin is wide in feature pixels, rounded up.
        pool_mode: 1, the mean; 0, the maximum, is not provided.
        aligned: True: pixel centres are at half coordinates; False: at whole ones, and RoIs are at least one feature
            pixel wide.

    Raises:
        NotImplementedError: max pooling is asked for.
        ValueError: on a CPU, an RoI is not finite, names an image that is not in the batch, has more than
            ``MOST_SAMPLES`` samples, or, when ``aligned``, ends before it starts; anywhere, the features are empty.
    """
    _only_mean(pool_mode)
    features = wide(input)
    shape = (spatial_scale, aligned_height, aligned_width)
    rois, unusable = _usable(rois.to(features.dtype), features.shape, *shape, sampling_ratio, aligned)
    pooled = torch.ops.torchvision.roi_align(features, rois, *shape, sampling_ratio, aligned)
    if unusable is not None:
        pooled = pooled.masked_fill(unusable[:, None, None, None], float('nan'))
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of :func:`roi_align_forward` with respect to the features.

    Args:
        grad_output: (R, C, aligned_height, aligned_width).
        rois: (R, 5), in image pixels; they get no gradient.
        argmax_y: not used (max pooling only).
        argmax_x: not used (max pooling only).
        grad_input: (B, C, H, W), written in place.
        aligned_height: as in the forward function, and so are all others.
        aligned_width: see there.
        spatial_scale: see there.
        sampling_ratio: see there.
        pool_mode: see there.
        aligned: see there.

    Raises:
        As the forward function.
    """
    _only_mean(pool_mode)
    grad = wide(grad_output)
    shape = (spatial_scale, aligned_height, aligned_width)
    rois, unusable = _usable(rois.to(grad.dtype), grad_input.shape, *shape, sampling_ratio, aligned)
    if unusable is not None:
        grad = grad.masked_fill(unusable[:, None, None, None], 0)
    if grad.device.type == 'cpu' and sampling_ratio > 0 and len(rois):
        grad_input.copy_(_gathered_gradient(grad, rois, grad_input.shape, spatial_scale, sampling_ratio, aligned))
        return
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(grad, rois, *shape, *grad_input.shape, sampling_ratio, aligned)
    )


def _gathered_gradient(
    grad: Tensor, rois: Tensor, features: torch.Size, scale: float, ratio: int, aligned: bool
) -> Tensor:
    """The gradient (B, C, H, W) of :func:`roi_align_forward`, feature pixel by feature pixel.

    torchvision's kernel for a CPU goes through the samples once for each channel and works out where each lies every
    time. Here each feature pixel gathers the rows of channels of the bins that it took part in, in the kernel's order,
    so that float64 differs by the rounding of the weights and float32 by that of the sums.
    """
    batch, channels, height, width = features
    number, _, rows, columns = grad.shape
    start = rois[:, 1:] * scale - (0.5 if aligned else 0)
    size = start[:, 2:] - start[:, :2]
    size = size if aligned else size.clamp(min=1)
    x, by_x = _corners(start[:, 0], size[:, 0], columns, ratio, width)
    y, by_y = _corners(start[:, 1], size[:, 1], rows, ratio, height)
    # (R, rows, columns, 2 * ratio, 2 * ratio): the pixels of each bin, and what they count in it.
    pixels = y[:, :, None, :, None] * width + x[:, None, :, None, :]
    pixels += (rois[:, 0].long() * (height * width))[:, None, None, None, None]
    weights = by_y[:, :, None, :, None] * by_x[:, None, :, None, :] / ratio**2
    pixels, order = pixels.flatten().sort(stable=True)
    count = torch.bincount(pixels, minlength=batch * height * width)
    gathered = F.embedding_bag(
        order // (2 * ratio) ** 2,
        grad.permute(0, 2, 3, 1).reshape(number * rows * columns, channels),
        offsets=count.cumsum(0) - count,
        mode='sum',
        per_sample_weights=weights.flatten()[order],
    )
    result = grad.new_empty(batch, channels, height * width)
    for image, rows_of_channels in zip(result, gathered.view(batch, -1, channels), strict=True):
        image.copy_(rows_of_channels.t())  # of two dimensions, which PyTorch transposes in blocks
    return result.view(features)


def _corners(start: Tensor, size: Tensor, bins: int, ratio: int, end: int) -> tuple[Tensor, Tensor]:
    """Along one axis the two pixels around each sample and their weights, both (R, bins, 2 * ratio).

    Args:
        start: (R,) of the RoIs, in feature pixels; size as well.
        end: pixels that the features have.
    """
    bin_, sample = (torch.arange(n, dtype=start.dtype) for n in (bins, ratio))
    width = (size / bins)[:, None, None]
    place = start[:, None, None] + bin_[:, None] * width + (sample + 0.5) * width / ratio
    # A sample further than a pixel outside is nothing; one within a pixel is at the border.
    inside = (place >= -1) & (place <= end)
    place = place.clamp(0, end - 1)
    low = place.long()
    high = (low + 1).clamp(max=end - 1)
    above = place - low
    weights = torch.stack([1 - above, above], -1) * inside[..., None]
    return torch.stack([low, high], -1).flatten(2), weights.flatten(2)


def _usable(
    rois: Tensor,
    features: torch.Size,
    scale: float,
    height: int,
    width: int,
    ratio: int,
    aligned: bool,
    what: str = 'RoI',
) -> tuple[Tensor, Tensor | None]:
    """RoIs that torchvision's op can take, and on a GPU which of them (R,) stand in for those that it cannot."""
    if not len(rois):
        return rois, None
    if 0 in features[2:]:
        raise ValueError(
            f'There are {len(rois)} RoIs, and features without a pixel, {tuple(features)}, to pool them from.'
        )
    image, size = rois[:, 0], (rois[:, 3:] - rois[:, 1:3]) * scale
    bins = size.new_tensor([width, height])
    samples = ((size / bins).ceil() * bins).abs().prod(1) if ratio <= 0 else rois.new_zeros(len(rois))
    faults = {
        'is not finite': ~torch.cat([rois, size], 1).isfinite().all(1),
        f'names an image that a batch of {features[0]} does not have': ~((image > -1) & (image < features[0])),
        f'has more than {MOST_SAMPLES} samples': samples > MOST_SAMPLES,
    }
    if not _may_look(rois):
        unusable = torch.stack(list(faults.values())).any(0)
        return rois.masked_fill(unusable[:, None], 0), unusable
    if aligned:
        faults['ends before it starts'] = (size < 0).any(1)
    for fault, rows in faults.items():
        if rows.any():
            row = int(rows.nonzero()[0])
            raise ValueError(
                f'{what} {row} of {len(rois)} cannot be pooled, (image, x1, y1, x2, y2) = '
                f'({", ".join(f"{number:g}" for number in rois[row].tolist())}), because it {fault}.'
            )
    return rois, None


def _may_look(tensor: Tensor) -> bool:
    """Whether reading a number costs nothing: on a GPU it would wait for all that was asked of the GPU before."""
    return tensor.device.type == 'cpu'


def _only_mean(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "roi_align with pool_mode='max' is not among the ops that rethink.ops provides over torchvision; use "
            f"pool_mode='avg', or {HOW_TO_COMPILE}."
        )


# --- Deformable RoI pooling ---


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Deformable RoI pooling (Dai et al., 2017, section 2.2): RoIAlign whose bins are moved.

    Args:
        input: (B, C, H, W) features.
        rois: (R, 5), in image pixels; pixel centres are at half coordinates.
        offset: (R, 2, pooled_height, pooled_width), ``(dx, dy)`` of each bin, in units of gamma times the RoI's size;
            or empty.
        output: (R, C, pooled_height, pooled_width), written in place.
        pooled_height: bins per column.
        pooled_width: bins per row.
        spatial_scale: feature pixels per image pixel.
        sampling_ratio: samples per bin and direction; 0: as many as the bin is wide in feature pixels, rounded up.
        gamma: see offset.

    Raises:
        ValueError: as :func:`roi_align_forward` of an aligned RoI.
    """
    features = wide(input)
    bins = _moved_bins(rois.to(features.dtype), offset, pooled_height, pooled_width, spatial_scale, gamma)
    bins, unusable = _usable(bins, features.shape, 1.0, 1, 1, sampling_ratio, True, 'Bin')
    pooled = torch.ops.torchvision.roi_align(features, bins, 1.0, 1, 1, sampling_ratio, True)
    if unusable is not None:
        pooled = pooled.masked_fill(unusable[:, None, None, None], float('nan'))
    output.copy_(pooled.view(len(rois), pooled_height, pooled_width, -1).permute(0, 3, 1, 2))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Gradients of :func:`deform_roi_pool_forward`, in ``grad_input`` and, when there are offsets, ``grad_offset``."""
    features = wide(input)
    rois = rois.to(features.dtype)
    bins = _moved_bins(rois, offset, pooled_height, pooled_width, spatial_scale, gamma)
    bins, unusable = _usable(bins, features.shape, 1.0, 1, 1, sampling_ratio, True, 'Bin')
    grad = grad_output.to(features.dtype).permute(0, 2, 3, 1).reshape(len(bins), -1)
    if unusable is not None:
        grad = grad.masked_fill(unusable[:, None], 0)
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad[:, :, None, None], bins, 1.0, 1, 1, *features.shape, sampling_ratio, True
        )
    )
    if offset.numel():
        by_place = _slopes(features, bins, grad, sampling_ratio)
        by_place = by_place.view(len(rois), pooled_height, pooled_width, 2).permute(0, 3, 1, 2)
        size = (rois[:, 3:] - rois[:, 1:3]) * spatial_scale * gamma
        grad_offset.copy_(by_place * size[:, :, None, None])


def _moved_bins(rois: Tensor, offset: Tensor, height: int, width: int, scale: float, gamma: float) -> Tensor:
    """Every bin of every RoI as an RoI of its own, in feature pixels: (R * height * width, 5)."""
    start, size = rois[:, 1:3] * scale, (rois[:, 3:] - rois[:, 1:3]) * scale
    place = torch.stack(
        torch.meshgrid(
            *(torch.arange(n, device=rois.device, dtype=rois.dtype) for n in (width, height)), indexing='xy'
        )
    )  # (2, height, width): x and y of each bin
    extent = size / size.new_tensor([width, height])
    first = start[:, :, None, None] + place * extent[:, :, None, None]
    if offset.numel():
        first = first + gamma * size[:, :, None, None] * offset.to(rois.dtype)
    last = first + extent[:, :, None, None]
    image = rois[:, :1, None, None].expand(-1, -1, height, width)
    return torch.cat([image, first, last], 1).permute(0, 2, 3, 1).reshape(-1, 5)


def _slopes(features: Tensor, bins: Tensor, grad: Tensor, ratio: int) -> Tensor:
    """Derivatives (N, 2) of ``sum(grad * pooled)`` by the place ``(x, y)`` of each bin, of (N, C) ``grad``.

    mmcv's formula, which is the derivative of the interpolation inside the features and differs within the pixel
    around them. On a GPU it waits for the number of samples.
    """
    size = bins[:, 3:] - bins[:, 1:3]
    count = size.ceil().long() if ratio <= 0 else torch.full_like(size, ratio, dtype=torch.long)
    total = count.prod(1)
    result = grad.new_zeros(len(bins), 2)
    height, width = features.shape[2:]
    rows = features.permute(0, 2, 3, 1).reshape(-1, features.size(1))
    # A chunk of samples at a time: each takes four rows of channels.
    for part in torch.arange(len(bins), device=bins.device).split(1024):
        bin_ = part.repeat_interleave(total[part])
        index = torch.arange(len(bin_), device=bins.device) - (total[part].cumsum(0) - total[part]).repeat_interleave(
            total[part]
        )
        grid = torch.stack([index % count[bin_, 0], index // count[bin_, 0]], 1)
        place = bins[bin_, 1:3] - 0.5 + (grid + 0.5) * size[bin_] / count[bin_]
        x, y = place.unbind(1)
        inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
        x_low, y_low = (p.clamp(0, side - 1).long() for p, side in ((x, width), (y, height)))
        x_high, y_high = (x_low + 1).clamp(max=width - 1), (y_low + 1).clamp(max=height - 1)
        image = bins[bin_, 0].long() * height * width
        weight = grad[bin_]
        corner = {
            (a, b): (rows[image + q * width + p] * weight).sum(1)
            for a, p in (('low', x_low), ('high', x_high))
            for b, q in (('low', y_low), ('high', y_high))
        }
        up, down = y_high - y, y - y_low
        left, right = x_high - x, x - x_low
        by_x = (corner['high', 'high'] - corner['low', 'high']) * down + (
            corner['high', 'low'] - corner['low', 'low']
        ) * up
        by_y = (corner['high', 'high'] - corner['high', 'low']) * right + (
            corner['low', 'high'] - corner['low', 'low']
        ) * left
        slopes = torch.stack([by_x, by_y], 1) * (inside / total[bin_])[:, None]
        result.index_add_(0, bin_, slopes)
    return result
