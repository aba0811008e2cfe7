"""Hooks that configs name in ``default_hooks`` and ``custom_hooks``."""

from .checkpoint import AtomicCheckpointHook

__all__ = ['AtomicCheckpointHook']
