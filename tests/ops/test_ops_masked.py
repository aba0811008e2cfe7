"""The convolution at chosen pixels against the whole one."""

import pytest
import torch
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
pytestmark = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed, which needs a GPU')


@pytest.mark.parametrize(('kernel', 'pad'), [(3, 1), (1, 0), (5, 2), (3, 2)])
@pytest.mark.parametrize('share', [0.4, 0.0, 1.0])
def test_a_masked_convolution_is_the_convolution_at_the_mask(share, kernel, pad):
    torch.manual_seed(0)
    layer = mmcv_ops.MaskedConv2d(3, 4, kernel, padding=pad).double()
    image = torch.randn(1, 3, 6, 7, dtype=torch.float64)
    mask = (torch.rand(1, 6, 7) < share).double()
    with torch.no_grad():
        expected, found = layer(image), layer(image, mask)
    inside = torch.zeros(expected.shape[2:], dtype=torch.bool)
    inside[:6, :7] = mask[0] > 0
    assert torch.allclose(found, expected * inside)
    assert bool(found.any()) == (share > 0)


def test_a_kernel_that_reaches_past_the_padding_sees_zeros():
    image = torch.arange(1.0, 10).view(1, 1, 3, 3)
    columns = torch.full((4, 1), -1.0)
    ops.masked_im2col_forward(image, torch.tensor([2]), torch.tensor([1]), columns, 2, 2, 0, 0)
    assert columns[:, 0].tolist() == [8, 9, 0, 0]
