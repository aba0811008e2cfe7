"""Detectors, their parts and what wraps them, registered for configs."""

from .adapters import ConvWithAdapter
from .c4 import Res5ExtraNorm
from .cascade import LastStageMaskCascadeRoIHead
from .frozen import build_frozen
from .pretrained import RenamedPretrained
from .split_bn import SplitBN, with_split_bn
from .swish import SwishRPNHead, with_swish
from .torchvision_backbone import TorchvisionBackbone
from .tta import DetectronTTAModel
from .vgg import VGG

__all__ = [
    'VGG',
    'ConvWithAdapter',
    'DetectronTTAModel',
    'LastStageMaskCascadeRoIHead',
    'RenamedPretrained',
    'Res5ExtraNorm',
    'SplitBN',
    'SwishRPNHead',
    'TorchvisionBackbone',
    'build_frozen',
    'with_split_bn',
    'with_swish',
]
