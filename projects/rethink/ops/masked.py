"""The two halves of a convolution that is computed at chosen pixels only."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['masked_col2im_forward', 'masked_im2col_forward']


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Gather the pixels under the kernel at each chosen pixel.

    Args:
        im: (1, C, H, W) features.
        mask_h_idx: int64 (N,), the rows of the chosen pixels.
        mask_w_idx: int64 (N,), their columns.
        col: (C * kernel_h * kernel_w, N), written in place; 0 where the kernel reaches over the border.
        kernel_h: rows of the kernel.
        kernel_w: its columns.
        pad_h: rows that its first row lies above the pixel.
        pad_w: columns that its first column lies left of the pixel.
    """
    beyond_h, beyond_w = max(kernel_h - 1 - pad_h, 0), max(kernel_w - 1 - pad_w, 0)
    padded = F.pad(im[0], (pad_w, beyond_w, pad_h, beyond_h))
    rows = mask_h_idx + torch.arange(kernel_h, device=im.device)[:, None, None]
    columns = mask_w_idx + torch.arange(kernel_w, device=im.device)[:, None]
    col.copy_(padded[:, rows, columns].reshape(col.shape))


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Put a column of channels at each chosen pixel.

    Args:
        col: (C, N).
        mask_h_idx: int64 (N,), the rows of the chosen pixels.
        mask_w_idx: int64 (N,), their columns.
        im: (1, C, H, W), written in place at these pixels.
        height: not used, ``im`` has it, and so has width.
        width: see there.
        channels: C.
    """
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)
