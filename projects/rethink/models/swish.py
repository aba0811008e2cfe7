"""Swish in place of ReLU, for necks and heads that have no argument for it.

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al. 2022,
https://arxiv.org/abs/2204.00484): its two-stage detectors have swish (Ramachandran et al. 2017,
https://arxiv.org/abs/1710.05941: x · sigmoid(x), which PyTorch calls SiLU) everywhere.
"""

from mmdet.registry import MODELS
from torch import nn


@MODELS.register_module(name='WithSwish')
def with_swish(of: str, **plain) -> nn.Module:
    """Build a registered neck or head and make each ``nn.ReLU`` in it a swish.

    ``neck=dict(type='WithSwish', of='NASFPN', in_channels=…)``. Parameters and their names stay as they are.

    Args:
        of: its type.
        plain: all other arguments, as the plain one has them.

    Raises:
        ValueError: there is no ``nn.ReLU`` in it, so it has no activation or calls one as a function.
    """
    module = MODELS.build(dict(type=of, **plain))
    found = [(parent, name) for parent in module.modules() for name, one in parent._modules.items() if _is_relu(one)]
    if not found:
        raise ValueError(f'WithSwish finds no nn.ReLU in {of}, so there is nothing to make a swish of.')
    for parent, name in found:
        setattr(parent, name, nn.SiLU())
    return module


def _is_relu(module: nn.Module | None) -> bool:
    return isinstance(module, nn.ReLU)
