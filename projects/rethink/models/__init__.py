"""Detectors, their parts and what wraps them, registered for configs."""

from .adapters import ConvWithAdapter
from .c4 import Res5ExtraNorm
from .cascade import LastStageMaskCascadeRoIHead
from .frozen import build_frozen
from .nasfpn import BottleneckNASFPN
from .pretrained import RenamedPretrained
from .resnet_rs import build_resnet_rs
from .split_bn import SplitBN, with_split_bn
from .swish import with_swish
from .tf_detection import MixedRandomSampler, NormedFCBBoxHead, OutputNormFPN, SepBNRPNHead, WeightedMeanHuberLoss
from .torchvision_backbone import TorchvisionBackbone
from .tta import DetectronTTAModel
from .vgg import VGG

__all__ = [
    'VGG',
    'BottleneckNASFPN',
    'ConvWithAdapter',
    'DetectronTTAModel',
    'LastStageMaskCascadeRoIHead',
    'MixedRandomSampler',
    'NormedFCBBoxHead',
    'OutputNormFPN',
    'RenamedPretrained',
    'Res5ExtraNorm',
    'SepBNRPNHead',
    'SplitBN',
    'TorchvisionBackbone',
    'WeightedMeanHuberLoss',
    'build_frozen',
    'build_resnet_rs',
    'with_split_bn',
    'with_swish',
]
