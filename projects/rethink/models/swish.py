"""Swish in place of ReLU, for necks and heads that have no argument for it.

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al. 2022,
https://arxiv.org/abs/2204.00484): its two-stage detectors have swish (Ramachandran et al. 2017,
https://arxiv.org/abs/1710.05941: x · sigmoid(x), which PyTorch calls SiLU) in neck and heads.
"""

from mmcv.cnn import build_norm_layer
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor, nn


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


@MODELS.register_module()
class SwishRPNHead(RPNHead):
    """``RPNHead`` whose convolution is followed by normalisation and swish.

    The convolution is shared by all levels of the pyramid; each level has a normalisation of its own, because the
    statistics of levels differ (as in ``RetinaSepBNHead``).

    Args: those of ``RPNHead``, and

        norm_cfg: of the normalisation.
    """

    def __init__(self, *args, norm_cfg: dict, **kwargs) -> None:
        self.norm_cfg = norm_cfg
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        levels = len(self.prior_generator.strides)
        self.norms = nn.ModuleList(build_norm_layer(self.norm_cfg, self.feat_channels)[1] for _ in range(levels))
        self.swish = nn.SiLU()

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness logits (B, anchors, H, W) and box deltas (B, 4 · anchors, H, W) of each level.

        Args:
            x: feature maps, each (B, C, H, W), one for each stride of the anchors.
        """
        features = [self.swish(norm(self.rpn_conv(level))) for level, norm in zip(x, self.norms, strict=True)]
        return [self.rpn_cls(one) for one in features], [self.rpn_reg(one) for one in features]
