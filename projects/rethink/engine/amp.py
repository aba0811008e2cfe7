"""Mixed precision, on a machine without an accelerator as well."""

from mmengine.config import Config


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: MMEngine's ``AmpOptimWrapper``, or bfloat16 autocast where there is only a CPU."""
    from mmengine.device import get_device

    if get_device() == 'cpu':
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
