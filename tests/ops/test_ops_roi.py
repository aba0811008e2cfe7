"""RoIAlign against references that are written out here in plain loops, in float64.

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


@over_torchvision
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [1, 2, 3])
def test_roi_align_gradient_is_torchvisions(ratio, aligned):
    generator = torch.Generator().manual_seed(2)
    corner = torch.rand(60, 2, generator=generator, dtype=torch.float64) * 60 - 15
    size = torch.rand(60, 2, generator=generator, dtype=torch.float64) * 40
    image = torch.randint(2, (60, 1), generator=generator)
    rois = torch.cat([torch.tensor(ROIS), torch.cat([image, corner, corner + size], 1)]).double()
    grad = torch.randn(len(rois), 5, 2, 4, generator=generator, dtype=torch.float64)
    none, shape = torch.zeros(0), (0.25, 2, 4, 2, 5, 9, 8, ratio, aligned)
    for one in (grad, grad.contiguous(memory_format=torch.channels_last)):
        found = torch.empty(2, 5, 9, 8, dtype=torch.float64)
        ops.roi_align_backward(one, rois, none, none, found, 2, 4, 0.25, ratio, 1, aligned)
        torch.testing.assert_close(
            found, torch.ops.torchvision._roi_align_backward(grad, rois, *shape), rtol=1e-12, atol=1e-12
        )
    assert found.abs().max() > 1


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


# --- What cannot be pooled ---

FAULTS = {
    'is not finite': [[0, math.nan, 0, 4, 4], [0, 0, 0, math.inf, 4], [math.nan, 0, 0, 4, 4], [0, -3e38, 0, 3e38, 4]],
    'names an image that a batch of 2 does not have': [[2, 0, 0, 4, 4], [-1, 0, 0, 4, 4], [1e9, 0, 0, 4, 4]],
}


@over_torchvision
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize(('fault', 'roi'), [(fault, roi) for fault, rois in FAULTS.items() for roi in rois])
def test_an_roi_that_cannot_be_pooled_is_one_sentence(fault, roi, aligned, ratio):
    rois = torch.tensor([[0.0, 0, 0, 4, 4], roi])
    with pytest.raises(ValueError, match=rf'^RoI 1 of 2 cannot be pooled, \(image, .*\), because it {fault}[.]$'):
        mmcv_ops.roi_align(features_of(torch.float32), rois, 2, 1.0, ratio, 'avg', aligned)
    none = torch.zeros(0)
    with pytest.raises(ValueError, match='^RoI 1 of 2 cannot be pooled'):
        ops.roi_align_backward(
            torch.ones(2, 3, 2, 2), rois, none, none, torch.zeros(2, 3, 9, 8), 2, 2, 1.0, ratio, 1, aligned
        )


@over_torchvision
def test_an_roi_that_is_enormous_or_reversed_is_one_sentence():
    features = features_of(torch.float32)
    with pytest.raises(ValueError, match='because it has more than 67108864 samples[.]$'):
        mmcv_ops.roi_align(features, torch.tensor([[0.0, 0, 0, 6e4, 6e4]]), 2, 1.0, 0, 'avg', True)
    for box in ([4, 0, 0, 4], [4, 4, 0, 0]):
        with pytest.raises(ValueError, match='because it ends before it starts[.]$'):
            mmcv_ops.roi_align(features, torch.tensor([[0.0, *box]]), 2, 1.0, 0, 'avg', True)
        # Not aligned it is one pixel wide.
        assert mmcv_ops.roi_align(features, torch.tensor([[0.0, *box]]), 2, 1.0, 0, 'avg', False).any()
    with pytest.raises(ValueError, match=r'^There are 1 RoIs, and features without a pixel, \(1, 3, 0, 8\), to pool'):
        mmcv_ops.roi_align(torch.zeros(1, 3, 0, 8), torch.zeros(1, 5), 2, 1.0, 0, 'avg', True)


@over_torchvision
@pytest.mark.parametrize('ratio', [0, 2])
def test_on_a_gpu_such_an_roi_is_nan_and_the_others_are_untouched(ratio, monkeypatch):
    monkeypatch.setattr(sys.modules['rethink.ops.roi'], '_may_look', lambda tensor: False)
    rois = torch.tensor([*ROIS, *FAULTS['is not finite'], *next(iter(list(FAULTS.values())[1:])), [0, 0, 0, 6e5, 6e5]])
    features = features_of(torch.float32).requires_grad_()
    pooled = mmcv_ops.roi_align(features, rois, 3, 0.25, ratio, 'avg', True)
    good = mmcv_ops.roi_align(features, rois[: len(ROIS)], 3, 0.25, ratio, 'avg', True)
    assert torch.equal(pooled[: len(ROIS)], good)
    bad = 7 if ratio else 8  # with a number of samples that is given, a large RoI costs no more than a small one
    assert pooled[len(ROIS) : len(ROIS) + bad].isnan().all()
    (grad,) = torch.autograd.grad(pooled.nan_to_num().sum(), features, retain_graph=True)
    expected = good.sum() + (pooled[-1].sum() if ratio else 0)
    (wanted,) = torch.autograd.grad(expected, features)
    assert grad.isfinite().all() and torch.allclose(grad, wanted, atol=1e-6)


@over_torchvision
def test_whole_numbers_are_refused():
    # The result would be cut off to whole numbers as well.
    with pytest.raises(TypeError, match=r"^mmcv's ops need floating point and got a tensor of torch.int64; convert"):
        mmcv_ops.roi_align(torch.ones(1, 3, 8, 8, dtype=torch.long), torch.zeros(1, 5).long(), 2)


# --- Deformable RoI pooling ---


def reference_deform_roi_pool(features, rois, offset, size, scale, ratio, gamma):
    out = np.zeros((len(rois), features.shape[1], *size))
    for r, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 for value in box)
        h, w = (y2 - y1) / size[0], (x2 - x1) / size[1]
        rows, columns = ratio or math.ceil(h), ratio or math.ceil(w)
        for i, j in np.ndindex(size):
            dx, dy = (0, 0) if offset is None else (offset[r, :, i, j] * gamma).tolist()
            samples = [
                bilinear(
                    features[int(image)],
                    y1 + dy * (y2 - y1) + i * h + (a + 0.5) * h / rows,
                    x1 + dx * (x2 - x1) + j * w + (b + 0.5) * w / columns,
                )
                for a in range(rows)
                for b in range(columns)
            ]
            out[r, :, i, j] = np.mean(samples, axis=0) if samples else 0
    return out


@over_torchvision
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('moved', [True, False])
def test_deform_roi_pool(moved, ratio):
    features, rois = features_of(), torch.tensor(ROIS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(4)
    offset = torch.randn(len(ROIS), 2, 3, 2, generator=generator, dtype=torch.float64) if moved else None
    expected = reference_deform_roi_pool(features.numpy(), rois, offset, (3, 2), 0.25, ratio, 0.3)
    found = mmcv_ops.deform_roi_pool(features, rois, offset, (3, 2), 0.25, ratio, 0.3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@over_torchvision
@pytest.mark.parametrize('ratio', [0, 3])
def test_deform_roi_pool_gradients(ratio):
    # RoIs well inside, where the interpolation has a derivative almost everywhere.
    generator = torch.Generator().manual_seed(5)
    rois = torch.tensor([[0, 6.3, 5.1, 17.9, 21.2], [1, 9.0, 7.5, 21.7, 27.3]], dtype=torch.float64)
    features = features_of().requires_grad_()
    offset = (torch.rand(2, 2, 3, 2, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, o: mmcv_ops.deform_roi_pool(x, rois, o, (3, 2), 0.25, ratio, 0.1), (features, offset), eps=1e-7
    )


@over_torchvision
def test_deform_roi_pool_with_an_offset_that_is_not_finite_is_one_sentence():
    offset = torch.zeros(1, 2, 2, 2).index_fill(3, torch.tensor(1), math.nan)
    with pytest.raises(ValueError, match=r'^Bin 1 of 4 cannot be pooled, .* because it is not finite[.]$'):
        mmcv_ops.deform_roi_pool(features_of(torch.float32), torch.tensor([[0.0, 1, 1, 9, 9]]), offset, 2, 0.25)
