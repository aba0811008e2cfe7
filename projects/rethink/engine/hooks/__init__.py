"""Hooks that configs name in ``default_hooks`` and ``custom_hooks``."""

from .checkpoint import AtomicCheckpointHook
from .features import FrozenFeaturesHook
from .hierarchy import ExportBackboneHook, InitFromBaseHook
from .invalid_loss import StopAtInvalidLossHook
from .norm import ReestimateBNHook, TrainBNOnlyHook
from .switch import SwitchHook

__all__ = [
    'AtomicCheckpointHook',
    'ExportBackboneHook',
    'FrozenFeaturesHook',
    'InitFromBaseHook',
    'ReestimateBNHook',
    'StopAtInvalidLossHook',
    'SwitchHook',
    'TrainBNOnlyHook',
]
