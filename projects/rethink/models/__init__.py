"""Detectors, their parts and what wraps them, registered for configs."""

from .cascade import LastStageMaskCascadeRoIHead
from .tta import DetectronTTAModel

__all__ = ['DetectronTTAModel', 'LastStageMaskCascadeRoIHead']
