"""mmcv's synchronised batch normalisation against PyTorch's BatchNorm over all of the processes' images."""

import pytest
import torch
import torch.multiprocessing as mp
from rethink import ops

mmcv_ops = pytest.importorskip('mmcv.ops')
pytestmark = pytest.mark.skipif(ops.provided() == 'compiled', reason='compiled mmcv is installed, which needs a GPU')


def batch_norm(images, weight, bias):
    norm = torch.nn.BatchNorm2d(4).double()
    with torch.no_grad():
        norm.weight.copy_(weight)
        norm.bias.copy_(bias)
    images = images.double().requires_grad_()
    out = norm(images)
    out.backward(images.detach().cos())
    return [out, images.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 4, 5, 3, generator=generator) * 3 + 1, torch.arange(1.0, 5), torch.arange(4.0)


def one_process(rank, world, folder):
    torch.set_num_threads(1)
    store = torch.distributed.FileStore(str(folder / 'store'), world)
    torch.distributed.init_process_group('gloo', store=store, rank=rank, world_size=world)
    images, weight, bias = data()
    norm = mmcv_ops.SyncBatchNorm(4)
    with torch.no_grad():
        norm.weight.copy_(weight)
        norm.bias.copy_(bias)
    part = images.chunk(world)[rank].clone().requires_grad_()
    out = norm(part)
    out.backward(part.detach().cos())
    found = [out.detach(), part.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
    torch.save(found, folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('world', [1, 2])
def test_sync_bn_is_batch_norm_over_all_processes(world, tmp_path):
    mp.spawn(one_process, (world, tmp_path), world)
    parts = [torch.load(tmp_path / f'{rank}.pth') for rank in range(world)]
    out, by_images, by_weight, by_bias, mean, var = batch_norm(*data())
    for position, expected in enumerate((out, by_images)):
        assert torch.allclose(torch.cat([part[position] for part in parts]).double(), expected, atol=1e-5)
    for part in parts:
        # mmcv's gradients by weight and bias are means over the processes, as DDP's are.
        for found, expected in zip(part[2:4], (by_weight, by_bias), strict=True):
            assert torch.allclose(found.double() * world, expected, atol=1e-4)
        for found, expected in zip(part[4:], (mean, var), strict=True):
            assert torch.allclose(found.double(), expected, atol=1e-6)


def test_half_precision_is_normalised_in_float32():
    images = torch.randn(2, 4, 5).half()
    images[:, 0] += 1000  # the squares of which float16 does not hold
    mean, var, std = (torch.zeros(4) for _ in range(3))
    ops.sync_bn_forward_mean(images, mean)
    ops.sync_bn_forward_var(images, mean, var)
    norm, out = torch.zeros(2, 4, 5), torch.zeros_like(images)
    ops.sync_bn_forward_output(images, mean, var, None, None, None, None, norm, std, out, 1e-5, 0.1, 1)
    expected = torch.nn.functional.batch_norm(images.double(), None, None, training=True)
    assert torch.allclose(norm.double(), expected, atol=1e-4) and torch.equal(out, norm.half())
