"""Hooks that configs name in ``default_hooks`` and ``custom_hooks``."""

from .checkpoint import AtomicCheckpointHook
from .hierarchy import ExportBackboneHook, InitFromBaseHook
from .norm import ReestimateBNHook, TrainBNOnlyHook

__all__ = ['AtomicCheckpointHook', 'ExportBackboneHook', 'InitFromBaseHook', 'ReestimateBNHook', 'TrainBNOnlyHook']
