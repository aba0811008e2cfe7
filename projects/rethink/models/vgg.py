"""VGG as the backbone of a detector: the convolutions, without normalisation, down to stride 16.

VGG, https://arxiv.org/abs/1409.1556; as in Faster R-CNN, and in Rethinking ImageNet Pre-training, section 5.1.
"""

from mmcv.cnn import VGG as Classifier
from mmcv.cnn.vgg import make_vgg_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class VGG(BaseModule):
    """The convolutions of VGG, each followed by ReLU, with four poolings between the five stages and none after.

    Parameters are named and shaped as in torchvision's ``vgg16`` (``features.0.weight``, …), so that its weights load
    as they are. Without normalisation nothing but the initialisation keeps the size of the signal through the depth:
    the default is MSRA (He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10), normal with variance
    2 / fan in, biases 0. Fan in keeps it forwards; with fan out, MSRA's other form, each layer that doubles the
    channels would halve its second moment, and the first one, 3 to 64 channels, divide it by 21.

    Args:
        depth: 11, 13, 16 or 19, the layers of the classifier, three of which are fully connected.
        base_channels: of the first stage; the second has 2 times, the third 4 times, the last two 8 times as many.
        frozen_stages: the number of stages, from the image on, that are not trained; 0 or less for none.
        init_cfg: by default MSRA.
    """

    def __init__(
        self,
        depth: int = 16,
        base_channels: int = 64,
        frozen_stages: int = -1,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg or dict(type='Kaiming', mode='fan_in', layer='Conv2d'))
        layers, width = [], 3
        for stage, convs in enumerate(Classifier.arch_settings[depth]):
            width, before = base_channels * min(2**stage, 8), width
            layers += make_vgg_layer(before, width, convs)
            if stage < frozen_stages:
                nn.ModuleList(layers).requires_grad_(False)
        self.features = nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """The last convolution's map, (B, 8·base_channels, H / 16, W / 16) rounded down, of images (B, 3, H, W)."""
        return (self.features(images),)
