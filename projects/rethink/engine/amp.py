"""Mixed precision, on a machine without an accelerator as well; importing it registers ``CPUAmpOptimWrapper``."""

import contextlib

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision on CPU: bfloat16 autocast and no loss scaling.

    MMEngine's ``AmpOptimWrapper`` refuses to be built without an accelerator. Autocast on CPU knows bfloat16, whose
    exponent is that of float32, so that gradients do not vanish and there is nothing to scale.
    """

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), autocast(device_type='cpu', dtype=torch.bfloat16):
            yield


def use_amp(cfg: Config) -> None:
    """Train in mixed precision: MMEngine's ``AmpOptimWrapper``, or bfloat16 autocast where there is only a CPU."""
    if get_device() == 'cpu':
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
