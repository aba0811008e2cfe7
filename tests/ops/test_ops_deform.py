"""Deformable convolutions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
over_torchvision = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed')
over_compiled = pytest.mark.skipif(ops.provided() != 'compiled', reason='compiled mmcv is not installed')


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


# --- What mmcv does beyond the paper ---


def mmcv_kernel(x, offset, mask, weight, grad, stride, pad):
    """mmcv's forward and coordinate kernels in loops, for one image and one group: output, gradient by the offsets.

    ``offset`` and ``mask`` are flat, and read with the strides of the output.
    """
    channels, height, width = x.shape
    outputs, _, kernel, _ = weight.shape
    _, out_h, out_w = grad.shape
    out, by_offset = torch.zeros_like(grad), torch.zeros_like(offset)

    def pixel(c, i, j):
        return x[c, i, j].item() if 0 <= i < height and 0 <= j < width else 0.0

    for row, column, i, j in np.ndindex(out_h, out_w, kernel, kernel):
        tap = i * kernel + j
        at_y, at_x = ((2 * tap + d) * out_h * out_w + row * out_w + column for d in (0, 1))
        m = mask[tap * out_h * out_w + row * out_w + column].item()
        y = row * stride - pad + i + offset[at_y].item()
        x_ = column * stride - pad + j + offset[at_x].item()
        if not (y > -1 and x_ > -1 and y < height and x_ < width):
            continue
        top, left = math.floor(y), math.floor(x_)
        dy, dx = y - top, x_ - left
        for c in range(channels):
            a, b, d, e = (pixel(c, top + p, left + q) for p in (0, 1) for q in (0, 1))
            value = (1 - dy) * ((1 - dx) * a + dx * b) + dy * ((1 - dx) * d + dx * e)
            out[:, row, column] += weight[:, c, i, j] * m * value
            above = (grad[:, row, column] * weight[:, c, i, j]).sum() * m
            by_offset[at_y] += above * ((1 - dx) * (d - a) + dx * (e - b))
            by_offset[at_x] += above * ((1 - dy) * (b - a) + dy * (e - d))
    return out, by_offset


def odd_offsets(kind, shape, generator):
    offset = (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5) * 4
    if kind == 'whole':
        return offset.round()
    if kind == 'none':
        return torch.zeros_like(offset)
    where = torch.rand(shape, generator=generator) < 0.15
    return offset.masked_fill(where, dict(nan=math.nan, inf=math.inf, enormous=-1e30).get(kind, 0))


@pytest.mark.parametrize('extra', [0, 2], ids=['of the size of the output', 'larger'])
@pytest.mark.parametrize('kind', ['any', 'whole', 'none', 'nan', 'inf', 'enormous'])
@over_torchvision  # mmcv's own backward kernel reads anywhere for a NaN
def test_modulated_deform_conv_is_mmcvs_kernel(kind, extra):
    generator = torch.Generator().manual_seed(3)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5

    x, weight, grad = rand(2, 2, 5, 4), rand(3, 2, 3, 3), rand(2, 3, 3, 2)
    offset = odd_offsets(kind, (2, 18, 3 + extra, 2 + extra), generator)
    mask = rand(2, 9, 3 + extra, 2 + extra)
    # A slice of a larger tensor, as DyHead's: only the images lie apart.
    both = torch.cat([offset, mask], 1)
    leaves = [x.requires_grad_(), both.requires_grad_()]
    found = mmcv_ops.modulated_deform_conv2d(x, both[:, :18], both[:, 18:], weight, None, 2, 1)
    found.backward(grad)
    for image in range(2):
        flat = [t[image].flatten() for t in (offset, mask)]
        out, by_offset = mmcv_kernel(x[image].detach(), *flat, weight, grad[image], 2, 1)
        assert torch.allclose(found[image], out, atol=1e-12)
        assert torch.allclose(both.grad[image, :18].flatten(), by_offset, atol=1e-12)
    assert all(leaf.grad.isfinite().all() for leaf in leaves)
    if extra:
        assert not both.grad[0, :18].flatten()[18 * 6 :].any() and not both.grad[0, 18:].flatten()[9 * 6 :].any()


@over_torchvision
def test_the_gradient_by_an_offset_exactly_outside_is_zero():
    # Padding without offsets, the first step of every deformable network: the samples of the first row and column.
    image = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    offset = torch.zeros(1, 18, 4, 4, dtype=torch.float64, requires_grad=True)
    mmcv_ops.deform_conv2d(image, offset, torch.ones(1, 1, 3, 3, dtype=torch.float64), 1, 1).sum().backward()
    grads = offset.grad.view(3, 3, 2, 4, 4)
    assert not grads[0, :, :, 0].any() and not grads[:, 0, :, :, 0].any()
    assert grads[1, 1].abs().min() > 0


@over_torchvision
def test_a_smaller_offset_is_one_sentence():
    x, weight = torch.rand(2, 4, 5, 5), torch.rand(4, 4, 3, 3)
    with pytest.raises(ValueError, match=r'^The offset of modulated_deform_conv2d is \(2, 18, 4, 5\), and this '):
        mmcv_ops.modulated_deform_conv2d(x, torch.rand(2, 18, 4, 5), torch.rand(2, 9, 5, 5), weight, None, 1, 1)
    with pytest.raises(ValueError, match=r'^The mask of modulated_deform_conv2d is \(1, 9, 5, 5\), and this '):
        mmcv_ops.modulated_deform_conv2d(x, torch.rand(2, 18, 5, 5), torch.rand(1, 9, 5, 5), weight, None, 1, 1)
    # mmcv reads a larger one only when there is a mask.
    with pytest.raises(ValueError, match=r'^The offset of deform_conv2d is \(2, 18, 6, 5\), '):
        mmcv_ops.deform_conv2d(x, torch.rand(2, 18, 6, 5), weight, 1, 1)
    with pytest.raises(ValueError, match='^A deformable convolution has 0 deformable groups; use 1 or more[.]$'):
        mmcv_ops.deform_conv2d(x, torch.rand(2, 0, 5, 5), weight, 1, 1, 1, 1, 0)
