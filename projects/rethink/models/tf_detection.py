"""What the two-stage detectors of TF Vision have and MMDetection has not.

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al. 2022,
https://arxiv.org/abs/2204.00484) releases configs of TF Vision, official/vision of https://github.com/tensorflow/models:
losses/maskrcnn_losses.py, modeling/maskrcnn_model.py, modeling/decoders/fpn.py and modeling/heads there.
"""

import torch
from mmcv.cnn import ConvModule, build_activation_layer, build_norm_layer
from mmdet.models.dense_heads import RPNHead
from mmdet.models.necks import FPN
from mmdet.models.roi_heads.bbox_heads import ConvFCBBoxHead
from mmdet.models.task_modules.samplers import RandomSampler, SamplingResult
from mmdet.registry import MODELS, TASK_UTILS
from torch import Tensor, nn
from torch.nn import functional as F


@MODELS.register_module()
class WeightedMeanHuberLoss(nn.Module):
    """Huber loss, summed over what has a weight and divided by the sum of the weights, and not by ``avg_factor``.

    Box losses of MMDetection are divided by the number of sampled anchors or RoIs, those of TF Vision by the number of
    coordinates of positive ones (and 0.01, against nothing at all). In an RPN each level of the pyramid is divided by
    its own, and the levels are added.

    Args:
        delta: where the parabola ends: x² / 2 up to it, ``delta · (|x| − delta / 2)`` beyond.
        loss_weight: a factor.
    """

    def __init__(self, delta: float, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.delta = delta
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor=None, **_) -> Tensor:
        """The loss, a scalar.

        Args:
            pred: box deltas (N, 4).
            target: theirs.
            weight: (N, 4), 1 for the coordinates of positive anchors or RoIs and 0 for the others.
            avg_factor: is not used.
        """
        loss = F.huber_loss(pred, target, reduction='none', delta=self.delta)
        return self.loss_weight * (loss * weight).sum() / (weight.sum() + 0.01)


@TASK_UTILS.register_module()
class MixedRandomSampler(RandomSampler):
    """``RandomSampler`` whose ground truth is a proposal like the others.

    A cascade of MMDetection drops the boxes that were ground truth before its next stage; here they go on, moved by
    the head, as in TF Vision, so that each stage has as many RoIs as the first.
    """

    def sample(self, *args, **kwargs) -> SamplingResult:
        """As ``RandomSampler``'s, with no box called ground truth."""
        result = super().sample(*args, **kwargs)
        result.pos_is_gt = torch.zeros_like(result.pos_is_gt)
        return result


@MODELS.register_module()
class OutputNormFPN(FPN):
    """``FPN`` whose outputs are normalised, and nothing in it.

    The first additional level is a convolution of stride 2 on the last output, each further one of the activation of
    the one before it, all of them before they are normalised.

    Args: those of ``FPN`` except ``add_extra_convs`` and ``relu_before_extra_convs``, and

        norm_cfg: of the outputs, one for each level.
        act_cfg: of the additional levels.
    """

    def __init__(self, *args, norm_cfg: dict, act_cfg: dict, **kwargs) -> None:
        super().__init__(*args, add_extra_convs='on_output', **kwargs)
        channels = self.out_channels
        for level in range(len(self.lateral_convs) + 1, self.num_outs):
            order = ('act', 'conv', 'norm')
            self.fpn_convs[level] = ConvModule(
                channels, channels, 3, stride=2, padding=1, act_cfg=act_cfg, order=order, inplace=False
            )
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, channels)[1] for _ in range(self.num_outs))

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, C, H, W) of each level, the finest first.

        Args:
            inputs: maps of the backbone.
        """
        return tuple(norm(one) for norm, one in zip(self.norms, super().forward(inputs), strict=True))


@MODELS.register_module()
class SepBNRPNHead(RPNHead):
    """``RPNHead`` with a normalisation and an activation behind each of its convolutions.

    The convolutions are shared by all levels of the pyramid; each level has normalisations of its own, because the
    statistics of levels differ (as in ``RetinaSepBNHead``).

    Args: those of ``RPNHead``, and

        norm_cfg: of the normalisation.
        act_cfg: of the activation.
    """

    def __init__(self, *args, norm_cfg: dict, act_cfg: dict, **kwargs) -> None:
        self.norm_cfg = norm_cfg
        self.act_cfg = act_cfg
        super().__init__(*args, **kwargs)

    def _init_layers(self) -> None:
        super()._init_layers()
        del self.rpn_conv
        channels = [self.in_channels] + self.num_convs * [self.feat_channels]
        self.rpn_convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(channels[:-1], channels[1:], strict=True)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(build_norm_layer(self.norm_cfg, self.feat_channels)[1] for _ in self.rpn_convs)
            for _ in self.prior_generator.strides
        )
        self.activation = build_activation_layer(self.act_cfg)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Objectness logits (B, anchors, H, W) and box deltas (B, 4 · anchors, H, W) of each level.

        Args:
            x: feature maps, each (B, C, H, W), one for each stride of the anchors.
        """
        features = []
        for level, norms in zip(x, self.norms, strict=True):
            for conv, norm in zip(self.rpn_convs, norms, strict=True):
                level = self.activation(norm(conv(level)))
            features.append(level)
        return [self.rpn_cls(one) for one in features], [self.rpn_reg(one) for one in features]


@MODELS.register_module()
class NormedFCBBoxHead(ConvFCBBoxHead):
    """``ConvFCBBoxHead`` that normalises behind its fully connected layers too.

    All layers are shared by classes and boxes.

    Args: those of ``ConvFCBBoxHead`` except the layers of one branch alone; ``norm_cfg`` is needed.
    """

    def __init__(self, num_shared_convs: int, num_shared_fcs: int, norm_cfg: dict, **kwargs) -> None:
        super().__init__(num_shared_convs, num_shared_fcs, norm_cfg=norm_cfg, **kwargs)
        self.fc_norms = nn.ModuleList(build_norm_layer(norm_cfg, self.fc_out_channels)[1] for _ in self.shared_fcs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (R, classes + 1) and box deltas (R, 4) or (R, 4 · classes).

        Args:
            x: features of the RoIs (R, C, H, W).
        """
        for conv in self.shared_convs:
            x = conv(x)
        x = x.flatten(1)
        for fc, norm in zip(self.shared_fcs, self.fc_norms, strict=True):
            x = self.relu(norm(fc(x)))
        return self.fc_cls(x), self.fc_reg(x)
