"""The guard before NumPy's reader of arrays (:mod:`rethink.trust`)."""

import functools

import numpy as np

from . import refused, trusted


def guard_numpy() -> None:
    """Guard ``numpy.load``, once."""
    if hasattr(np.load, 'guarded'):
        return
    original = np.load

    @functools.wraps(original)
    def load(file, mmap_mode=None, allow_pickle=False, **options):
        if not allow_pickle or trusted(file):
            return original(file, mmap_mode, allow_pickle, **options)
        try:
            # An archive looks at each of its arrays only when it is asked for it, and refuses then.
            return original(file, mmap_mode, False, **options)
        except ValueError as error:
            if 'allow_pickle' not in str(error):
                raise
            raise refused(file, 'is an array of objects, or a pickle') from None

    load.guarded = original
    np.load = load
