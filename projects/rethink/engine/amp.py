"""Mixed precision, on a machine without an accelerator as well."""

import functools
import time

from mmengine.config import Config

from ..errors import say


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: MMEngine's ``AmpOptimWrapper``, or bfloat16 autocast where there is only a CPU.

    Where bfloat16 is slower than float32 on that CPU, a sentence says so.
    """
    from mmengine.device import get_device

    if get_device() == 'cpu':
        if slower():
            say(f'warning: {slower()}')
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'


def slower() -> str | None:
    """A sentence on what mixed precision costs, where training is on a CPU that has float32 done sooner.

    Measured and not read from the CPU's flags: with ``avx512_bf16`` a step took 0.54 of the time on an AMD EPYC and
    1.44 of it on an Intel Xeon, and ten times as long on a CPU without it (docs/speed.md).
    """
    from mmengine.device import get_device

    if get_device() != 'cpu' or (ratio := bfloat16_ratio()) < 1.1:
        return None
    return (
        f'a convolution takes {ratio:.1f} times as long in bfloat16 as in float32 on this CPU, so that mixed '
        'precision is slower here; leave it away (--amp, or amp: true of a study).'
    )


@functools.cache
def bfloat16_ratio() -> float:
    """CPU time of a 3 × 3 convolution and its gradients in bfloat16, over that in float32; a tenth of a second."""
    import torch

    def seconds(dtype: torch.dtype) -> float:
        convolution = torch.nn.Conv2d(64, 64, 3, padding=1, dtype=dtype)
        features = torch.ones(1, 64, 56, 56, dtype=dtype, requires_grad=True)
        times = []
        # The first makes what oneDNN keeps; other work on the machine only ever makes one longer.
        for _ in range(4):
            begun = time.process_time()
            convolution(features).sum().backward()
            times.append(time.process_time() - begun)
        return min(times)

    # Nothing of the training is drawn otherwise than without this.
    with torch.random.fork_rng(devices=[]):
        return seconds(torch.bfloat16) / seconds(torch.float32)
