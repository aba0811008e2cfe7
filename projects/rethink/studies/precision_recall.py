"""Precision against recall of the arms of a study: what of the objects is found, and what of the found is right.

Rows of two panels, at an IoU of 0.5 and of 0.75, an arm in its colour. A line is the mean over seeds, a band how far
they lie apart. The first row is the mean over classes; classes by themselves come below it where they are few.
"""

import io
from collections.abc import Iterator, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .classes import IOUS, Arm, Classes
from .curves import Look, in_turn, legend_of_bands, mark_band

# More classes are read in a table.
FEW = 6
_RECALL = np.linspace(0, 1, 101)


def looks(found: Sequence[Classes]) -> dict[str, Look]:
    """The name of an arm -> how it is drawn, wherever it is."""
    return in_turn(dict.fromkeys(arm.name for one in found for arm in one.arms))


def rows_of(one: Classes, of_classes: bool) -> list[int | None]:
    """Places of the classes that have a row, None for the mean over them; of a single class there is no mean."""
    each = [at for at, number in enumerate(one.objects) if number]
    if len(each) == 1:
        return [] if of_classes else each
    return each * (len(each) <= FEW) if of_classes else [None]


def draw(one: Classes, rows: Sequence[int | None], grid: np.ndarray, look: dict[str, Look], title: str = '') -> None:
    """Draw rows of panels.

    Args:
        rows: as of :func:`rows_of`.
        grid: axes, (rows, IoUs).
        title: in front of the name of a row.
    """
    for axes_of_row, at in zip(grid, rows, strict=True):
        name = f'mean of {np.count_nonzero(one.objects)} classes' if at is None else one.names[at]
        for axes, iou in zip(axes_of_row, IOUS, strict=True):
            for arm in one.arms:
                _draw_arm(axes, arm, arm.curves(iou, at), look[arm.name])
            axes.set_title(f'{title}{name}, IoU {iou:g}', fontsize='medium')
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            axes.grid(alpha=0.25)
            axes.spines[['top', 'right']].set_visible(False)
        axes_of_row[0].set_ylabel('precision')
    for axes in grid[-1]:
        axes.set_xlabel('recall')


def _draw_arm(axes: Axes, arm: Arm, curves: np.ndarray, look: Look) -> None:
    """Curves of its seeds, (S, recalls)."""
    style = look.on_paper | dict(marker='')
    axes.plot(_RECALL, curves.mean(0), label=arm.name, **style)
    if len(curves) > 1:
        band = axes.fill_between(_RECALL, curves.min(0), curves.max(0), color=style['color'], alpha=0.2, linewidth=0)
        mark_band(band)


def add_legend(drawing: Figure, columns: int = 3) -> None:
    """Of all panels, below them."""
    entries: dict[str, object] = {}
    for axes in drawing.axes:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    for axes in drawing.axes:
        entries |= legend_of_bands(axes)
    place = dict(loc='outside lower center', handlelength=3, ncols=min(len(entries), columns))
    drawing.legend(entries.values(), entries, frameon=False, **place)


def picture(found: Sequence[Classes]) -> bytes | None:
    """The means over classes of all comparisons as a PNG, of one comparison its classes too; None without any."""
    shown = [one for one in found if one.arms]
    if not shown:
        return None
    of = list(_with_rows(shown))
    rows = sum(len(places) for _, places in of)
    look = looks(shown)
    with matplotlib.rc_context({'text.parse_math': False, 'font.size': 9}):
        drawing, grid = plt.subplots(
            rows, len(IOUS), squeeze=False, figsize=(7.5, 0.7 + 2.2 * rows), layout='constrained', sharey=True
        )
        start = 0
        for one, places in of:
            title = f'{one.title}: ' if one.title else ''
            draw(one, places, grid[start : start + len(places)], look, title)
            start += len(places)
        add_legend(drawing)
        file = io.BytesIO()
        drawing.savefig(file, format='png', dpi=150)
        plt.close(drawing)
    return file.getvalue()


def _with_rows(shown: Sequence[Classes]) -> Iterator[tuple[Classes, list[int | None]]]:
    for one in shown:
        yield one, rows_of(one, False) + (rows_of(one, True) if len(shown) == 1 else [])
