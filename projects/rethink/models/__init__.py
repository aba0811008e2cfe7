"""Detectors, their parts and what wraps them, registered for configs."""

from .tta import DetectronTTAModel

__all__ = ['DetectronTTAModel']
