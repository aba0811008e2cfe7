"""Detectors, their parts and what wraps them, registered for configs."""

from .cascade import LastStageMaskCascadeRoIHead
from .pretrained import RenamedPretrained
from .split_bn import SplitBN
from .tta import DetectronTTAModel
from .vgg import VGG

__all__ = ['VGG', 'DetectronTTAModel', 'LastStageMaskCascadeRoIHead', 'RenamedPretrained', 'SplitBN']
