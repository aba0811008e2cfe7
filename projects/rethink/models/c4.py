"""The last stage of a ResNet on RoIs, followed by one more normalisation: the C4 detectors of MoCo and HPT."""

from mmcv.cnn import build_norm_layer
from mmdet.models.backbones import ResNet
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor


@MODELS.register_module()
class Res5ExtraNorm(BaseModule):
    """``shared_head`` of a C4 RoI head: res5 (``layer4``), and a norm behind its last ReLU.

    He et al. 2020 (Momentum Contrast), section 4.2: res5 with an extra BN layer behind it, all of it trained, its BN
    in training mode. mmdet's own ``ResLayer`` has no norm at its end and one width only; the names of the weights of
    ``layer4`` are the same, which are those of a ``ResNet``. The stride of the stage, 2, is on the 3x3 convolution, as
    in torchvision's ResNet and MoCo's.

    Args:
        depth: of the ResNet, whose fourth stage this is.
        norm_cfg: of all norms, the extra one included.
        base_channels: of the ResNet, 64 unless it is narrower; with it the stage has 8 times as many.
        init_cfg: by default MSRA for convolutions and scales of 1.
    """

    def __init__(self, depth: int, norm_cfg: dict, base_channels: int = 64, init_cfg: dict | None = None) -> None:
        super().__init__(
            init_cfg
            or [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
            ]
        )
        block, blocks = ResNet.arch_settings[depth]
        planes = 8 * base_channels
        inplanes, outplanes = planes // 2 * block.expansion, planes * block.expansion
        self.layer4 = ResLayer(block, inplanes, planes, blocks[3], stride=2, style='pytorch', norm_cfg=norm_cfg)
        self.norm = build_norm_layer(norm_cfg, outplanes)[1]

    def forward(self, rois: Tensor) -> Tensor:
        """Features of RoIs (R, C, H, W), C those of res4, to (R, 2C, H/2, W/2), rounded up."""
        return self.norm(self.layer4(rois))
