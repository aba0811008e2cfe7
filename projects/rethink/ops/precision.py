"""The dtype that the ops compute in."""

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the dtype that is computed in: float64 stays, other floating point becomes float32.

    Raises:
        TypeError: it holds integers, whose results would be cut off.
    """
    if not tensor.is_floating_point():
        raise TypeError(
            f"mmcv's ops need floating point and got a tensor of {tensor.dtype}; convert it with .float()."
        )
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
