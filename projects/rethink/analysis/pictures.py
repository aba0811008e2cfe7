"""What all pictures share: how an arm looks, and how a picture is written."""

import os
from functools import partial
from pathlib import Path

from ..files import write_together

# Of a name without one of them, the first two are written.
SUFFIXES = ('.png', '.svg', '.pdf')


def save(figure, path: str | os.PathLike, dpi: int = 150) -> list[Path]:
    """Write a figure of matplotlib, its folder as well.

    Args:
        path: ends in .png, .svg or .pdf; any other name, such as ``r50_3.5k``, becomes a PNG and an SVG.

    Returns:
        What was written.
    """
    path = Path(path)
    # Not with_suffix, which would cut a name such as 3.5k.
    paths = [path] if path.suffix in SUFFIXES else [Path(f'{path}{suffix}') for suffix in SUFFIXES[:2]]
    write_together({one: partial(figure.savefig, format=one.suffix[1:], dpi=dpi) for one in paths})
    return paths
