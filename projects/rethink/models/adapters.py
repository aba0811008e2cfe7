"""Residual adapters: a small trainable path beside a convolution that may be frozen.

Rebuffi, Bilen, Vedaldi: Learning multiple visual domains with residual adapters (2017,
https://arxiv.org/abs/1705.08045), and, for the parallel form used here, Efficient parametrization of multi-domain deep
neural networks (2018, https://arxiv.org/abs/1803.10082), section 3; beside a frozen backbone in Vasconcelos et al.
2022, https://arxiv.org/abs/2204.00484.
"""

from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn


class Adapter(nn.Module):
    """The trainable path: a convolution with kernel 1×1, no bias, and all weights 0 to begin with.

    :class:`rethink.models.frozen.Frozen` freezes everything but modules of this class. It is no ``nn.Conv2d``, so that
    an ``init_cfg`` that draws the weights of all convolutions leaves it at 0.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: along height and width.
        groups: of channels, as in ``nn.Conv2d``.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: tuple[int, int] = (1, 1), groups: int = 1) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels // groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, out_channels, ⌈H / stride⌉, ⌈W / stride⌉) of maps (B, in_channels, H, W)."""
        return nn.functional.conv2d(x, self.weight, stride=self.stride, groups=self.groups)

    def extra_repr(self) -> str:
        return f'{tuple(self.weight.shape)}, stride={self.stride}, groups={self.groups}'


@MODELS.register_module()
class ConvWithAdapter(nn.Conv2d):
    """``nn.Conv2d`` and, in parallel, an :class:`Adapter`: ``conv(x) + adapter(x)``, at first ``conv(x)``.

    A config names it in the backbone, ``conv_cfg=dict(type='ConvWithAdapter')``, and mmcv's ``build_conv_layer`` makes
    all of its convolutions so. State dict: that of the convolution, and ``adapter.weight`` where there is one.

    Args:
        args: of ``nn.Conv2d``, as are the other keywords.
        kernel_sizes: the convolutions that get an adapter; the others are no more than a ``nn.Conv2d``.

    Raises:
        ValueError: a convolution that is to get an adapter is not centred on the pixels that its stride picks, or does
            not pad with zeros.
    """

    def __init__(self, *args, kernel_sizes: Sequence[int] = (3,), **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.adapter = None
        if self.kernel_size[0] != self.kernel_size[1] or self.kernel_size[0] not in kernel_sizes:
            return
        centred = tuple(dilation * (self.kernel_size[0] - 1) // 2 for dilation in self.dilation)
        if self.padding != centred or self.kernel_size[0] % 2 == 0 or self.padding_mode != 'zeros':
            raise ValueError(
                f'an adapter needs an odd kernel and zeros for padding, here {centred}, to see the pixels that the '
                f'convolution is centred on; this one is {self.extra_repr()}'
            )
        self.adapter = Adapter(self.in_channels, self.out_channels, self.stride, self.groups)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, out_channels, H', W') of maps (B, in_channels, H, W), as of the ``nn.Conv2d``."""
        y = super().forward(x)
        return y if self.adapter is None else y + self.adapter(x)
