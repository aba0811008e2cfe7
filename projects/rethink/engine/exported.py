"""The file in which a training leaves its backbone (:class:`rethink.engine.hooks.ExportBackboneHook`)."""

import os

from ..trust.checkpoints import read_checkpoint

BACKBONE = 'backbone.pth'


def exported(path: str | os.PathLike, iterations: int) -> bool:
    """Whether a file of :func:`rethink.engine.hooks.hierarchy.write_backbone` is whole and of that iteration."""
    try:
        return read_checkpoint(path)['meta']['iterations'] == iterations
    except Exception:  # not there, cut off, or another file: all are to be written (again)
        return False
