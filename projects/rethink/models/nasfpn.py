"""NAS-FPN with residual blocks, as the Copy-Paste release has it.

NAS-FPN: Ghiasi et al. 2019, https://arxiv.org/abs/1904.07392. Copy-Paste: Ghiasi et al. 2021,
https://arxiv.org/abs/2012.07177; `nasfpn` of its released configs (https://github.com/tensorflow/tpu,
models/official/detection): `block_fn: bottleneck`, `use_sum_for_combination: true`.
"""

from mmcv.cnn import ConvModule, build_activation_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

# Level of a node, and the nodes that it adds up. The first five are P3 to P7, the last five what a repeat gives.
_NODES = ((4, (1, 3)), (4, (1, 5)), (3, (0, 6)), (4, (6, 7)), (5, (7, 8, 2)), (7, (6, 9, 4)), (6, (9, 10)))
_LEVELS = (3, 4, 5, 6, 7, *(level for level, _ in _NODES))


@MODELS.register_module()
class BottleneckNASFPN(BaseModule):
    """NAS-FPN of P3 to P7 whose nodes add up their inputs and end in a bottleneck block, of 4 times the channels.

    MMDetection's ``NASFPN`` ends its nodes in a convolution, and weighs inputs by global pooling.

    Args:
        in_channels: of the backbone's maps of stride 8, 16 and 32.
        channels: inside a block; what a node adds up has as many, and its output 4 times as many.
        stack_times: repeats.
        norm_cfg: behind every convolution.
        act_cfg: in front of a block and in it.
        drop_path_rate: of the residual branch of each block.
        init_cfg: as of any module; Kaiming's initialisation of convolutions without.
    """

    def __init__(
        self,
        in_channels: list[int],
        channels: int,
        stack_times: int,
        norm_cfg: dict,
        act_cfg: dict,
        drop_path_rate: float = 0.0,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv2d'))
        if len(in_channels) != 3:
            raise ValueError(
                f'BottleneckNASFPN takes the maps of three strides, 8, 16 and 32, not {len(in_channels)}.'
            )
        block = dict(channels=channels, norm_cfg=norm_cfg, act_cfg=act_cfg, drop_path_rate=drop_path_rate)
        self.lateral_convs = nn.ModuleList(
            ConvModule(one, channels, 1, norm_cfg=norm_cfg, act_cfg=None) for one in in_channels
        )
        self.repeats = nn.ModuleList()
        for index in range(stack_times):
            widths = [channels if index == 0 else 4 * channels] * 5 + [4 * channels] * len(_NODES)
            nodes = (_Node([widths[one] for one in inputs], **block) for _, inputs in _NODES)
            self.repeats.append(nn.ModuleList(nodes))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """P3 to P7, each (B, 4 · channels, H, W).

        Args:
            inputs: maps of the backbone.
        """
        maps = [conv(one) for conv, one in zip(self.lateral_convs, inputs, strict=True)]
        for _ in range(2):
            maps.append(F.max_pool2d(maps[-1], 2, ceil_mode=True))
        sizes = {level: one.shape[2:] for level, one in zip(_LEVELS, maps, strict=False)}
        for nodes in self.repeats:
            for node, (level, chosen) in zip(nodes, _NODES, strict=True):
                maps.append(node([(maps[one], _LEVELS[one] - level) for one in chosen], sizes[level]))
            given = dict(zip(_LEVELS[-5:], maps[-5:], strict=True))
            maps = [given[level] for level in range(3, 8)]
        return tuple(maps)


class _Node(nn.Module):
    """Inputs brought to one width and size and added up, an activation, a bottleneck block."""

    def __init__(
        self, in_channels: list[int], channels: int, norm_cfg: dict, act_cfg: dict, drop_path_rate: float
    ) -> None:
        from mmpretrain.models.backbones.resnet import Bottleneck

        super().__init__()
        self.resample = nn.ModuleList(
            nn.Identity() if one == channels else ConvModule(one, channels, 1, norm_cfg=norm_cfg, act_cfg=None)
            for one in in_channels
        )
        self.activation = build_activation_layer(act_cfg)
        shortcut = ConvModule(channels, 4 * channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.block = Bottleneck(
            channels,
            4 * channels,
            downsample=shortcut,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            drop_path_rate=drop_path_rate,
        )

    def forward(self, inputs: list[tuple[Tensor, int]], size: tuple[int, int]) -> Tensor:
        """The map of a node.

        Args:
            inputs: maps and by how many levels each is coarser than the node.
            size: (H, W) of the node.
        """
        total = 0
        for resample, (one, coarser) in zip(self.resample, inputs, strict=True):
            one = resample(one)
            if coarser < 0:
                one = F.max_pool2d(one, 2**-coarser, ceil_mode=True)
            elif coarser > 0:
                one = F.interpolate(one, size=size, mode='nearest')
            total = total + one
        return self.block(self.activation(total))
