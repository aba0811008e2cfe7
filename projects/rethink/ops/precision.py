"""The dtype that the ops compute in."""

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """The tensor in the dtype that is computed in: float64 stays, everything else becomes float32."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
