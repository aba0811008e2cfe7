"""That what makes a step on a CPU cheaper changes no number."""

import subprocess
import sys

import pytest
import torch
from rethink.engine import cpu
from torch import nn


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize('window', [(3, 2, 1), (2, 2, 0), ((3, 2), (1, 2), (1, 0))])
def test_max_pooling_is_that_of_torch_to_the_bit(dtype, window):
    # Few values, so that most windows have equal ones, and what is no number.
    x = torch.randn(2, 3, 17, 12, generator=torch.Generator().manual_seed(0)).relu().mul(2).round().to(dtype)
    x[0, 0, 5, 5], x[1, 1, 3, 4] = float('nan'), float('-inf')
    plain = nn.Sequential(nn.MaxPool2d(*window, ceil_mode=window[1] == 2))
    quick = nn.Sequential(nn.MaxPool2d(*window, ceil_mode=window[1] == 2))
    cpu.quicken(quick)
    assert type(quick[0]) is cpu.ChannelsLastMaxPool2d
    results = []
    for model in (plain, quick):
        features = x.clone().requires_grad_()
        pooled = model(features)
        pooled.backward(torch.arange(pooled.numel()).view(pooled.shape).to(dtype))
        results.append((pooled.detach(), features.grad))
    for expected, found in zip(*results, strict=True):
        assert found.stride() == expected.stride() and found.dtype == dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_max_pooling_of_channels_last_features_and_of_indices_is_left_alone():
    model = nn.Sequential(nn.MaxPool2d(2), nn.MaxPool2d(2, return_indices=True))
    cpu.quicken(model)
    assert type(model[1]) is nn.MaxPool2d
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    assert model[0](x).is_contiguous(memory_format=torch.channels_last)
    assert model[0](x[0]).shape == (3, 4, 4)


def test_freed_memory_is_kept_for_the_next_step():
    code = f"""
import importlib.util, resource, torch
spec = importlib.util.spec_from_file_location('cpu', {cpu.__file__!r})
cpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cpu)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**25).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = [faults() for _ in range(3)]
cpu.keep_memory()
after = [faults() for _ in range(16)]  # until a block is free that is aligned
print(min(before), min(after))
"""
    before, after = map(int, subprocess.check_output([sys.executable, '-c', code], text=True).split()[-2:])
    assert before > 2**15 // 2  # pages of 4 KB, where they are
    assert after < 100
