"""What all pictures share: how an arm looks, wherever it is drawn, and how a picture is written.

Six looks, of a colour, a marker and a hatch each. Colours follow those of Okabe and Ito (2008, Color Universal
Design), changed in lightness so that no two are alike in grey print, and no two to a reader without red or green
cones; tests/analysis/test_pictures.py measures both. Each is read on white and on black.
"""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..files import write_together

# Of a name without one of them, the first two are written.
SUFFIXES = ('.png', '.svg', '.pdf')


class Look(NamedTuple):
    """How an arm is drawn.

    Attributes:
        colour: sRGB, as #rrggbb.
        marker: matplotlib's name.
        live: Bokeh's name of the same marker.
        hatch: of bars, matplotlib's.
    """

    colour: str
    marker: str
    live: str
    hatch: str


LOOKS = (
    Look('#0064a8', 'o', 'circle', ''),
    Look('#e69f00', 's', 'square', '//'),
    Look('#009e73', '^', 'triangle', '..'),
    Look('#8a2a18', 'D', 'diamond', 'xx'),
    Look('#b8679f', 'v', 'inverted_triangle', '\\\\'),
    Look('#45a3d9', 'P', 'plus', '++'),
)
# What the studies call their arms -> place in LOOKS. Arms that are the same thing in two studies look the same: what
# begins with random weights, with weights that are fine-tuned, with weights that are frozen.
ARMS = {
    'scratch': 0,
    'T': 0,
    'pretrain': 1,
    'finetune': 1,
    'B+T': 1,
    'freeze': 2,
    'B': 2,
    'freeze + adapters': 3,
    'B+S+T': 3,
    'B+S': 4,
    'B+T-BN': 5,
}
# Between black and white, to be read on both: for what is no arm.
GREY = '#7a7a7a'
# Lines of one arm: matplotlib's and Bokeh's names.
DASHES = (('-', 'solid'), ('--', 'dashed'), (':', 'dotted'), ('-.', 'dashdot'), ((0, (1, 3)), [2, 6]))


def arm_of(name: str) -> str | None:
    """The arm of the name of an arm, a config or a run, such as ``scratch_r50_gn_6x``; None of other names."""
    if name in ARMS:
        return name
    first = name.split('_')[0].split(',')[0]
    if first == 'freeze' and 'adapter' in name:
        return 'freeze + adapters'
    return first if first in ARMS else None


def places(names: Iterable[str]) -> dict[str, int]:
    """Name -> place in :data:`LOOKS`: that of its arm, wherever it is drawn; other names take what is left, in order.

    Arms of one look in one picture, such as pretrain and finetune, and names that are more than the looks, are told
    apart by what is left as well, and then by nothing but their order.
    """
    names = list(dict.fromkeys(names))
    found: dict[str, int] = {}
    for name in names:
        place = ARMS.get(arm_of(name) or '')
        if place is not None and place not in found.values():
            found[name] = place
    for name in names:
        if name not in found:
            free = [at for at in range(len(LOOKS)) if at not in found.values()]
            found[name] = free[0] if free else len(found) % len(LOOKS)
    return {name: found[name] for name in names}


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
