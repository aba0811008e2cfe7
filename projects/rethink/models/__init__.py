"""Detectors, their parts and what wraps them, registered for configs."""

from .c4 import Res5ExtraNorm
from .cascade import LastStageMaskCascadeRoIHead
from .pretrained import RenamedPretrained
from .split_bn import SplitBN
from .tta import DetectronTTAModel
from .vgg import VGG

__all__ = [
    'VGG',
    'DetectronTTAModel',
    'LastStageMaskCascadeRoIHead',
    'RenamedPretrained',
    'Res5ExtraNorm',
    'SplitBN',
]
