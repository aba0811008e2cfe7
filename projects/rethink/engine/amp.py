"""Mixed precision, on a machine without an accelerator as well."""

from mmengine.config import Config

from ..errors import say

# A step of the smaller detector of docs/real_data.md took 18.7 s in place of 1.8 s on such a CPU.
SLOW = (
    'this CPU has no instructions for bfloat16, and mixed precision can take ten times the time of float32 here; '
    'leave it away (--amp, or amp: true of a study), or use a machine that has them (lscpu: avx512_bf16, amx_bf16).'
)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: MMEngine's ``AmpOptimWrapper``, or bfloat16 autocast where there is only a CPU."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        if emulated():
            say(f'warning: {SLOW}')
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'


def emulated() -> bool:
    """Training is on a CPU on which oneDNN does not compute in bfloat16, as far as PyTorch can tell."""
    import torch
    from mmengine.device import get_device

    supported = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)
    return get_device() == 'cpu' and supported is not None and not supported()
