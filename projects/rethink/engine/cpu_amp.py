"""Mixed precision on a machine without an accelerator."""

import contextlib

import torch
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
