"""Memory of a training on a CPU; ``SteadyRunner`` asks for it before it trains on one."""

import contextlib
import ctypes

# Names of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_memory() -> None:
    """Let the C library keep what PyTorch frees, for the next step, where that library is glibc.

    It gives large blocks back to the system at once, which then maps and clears the same pages again, tensor by
    tensor. What is kept is the most that a step needs at a time.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)
