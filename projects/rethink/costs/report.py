"""What training steps cost, as a table, and as figure 1 of Proper Reuse of Image Classification Features.

Vasconcelos et al. 2022, https://arxiv.org/abs/2204.00484: AP against the operations of a training step, fine-tuned and
frozen.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from ..analysis import pictures
from ..analysis.published import read_published
from .of_config import Cost, Setting
from .table import table

GIGA, MIB, GIB = 10**9, 2**20, 2**30
ADAPTERS = 'freeze + adapters'


# --- table -----------------------------------------------------------------------------------------------------------


def _share(part: int, whole: int) -> str:
    return f'{100 * part / whole:.1f} %' if whole else '–'


def _number(value: float) -> str:
    return f'{value:,.{3 if value < 10 else 1 if value < 1000 else 0}f}'


def _columns(cost: Cost) -> list[tuple[str, str]]:
    backbone, trained = cost.parts.get('backbone', (0, 0))
    columns = [
        ('config', cost.name),
        ('M parameters', f'{cost.parameters / 1e6:.2f}'),
        ('trained', _share(cost.trainable, cost.parameters)),
        ('M in backbone', f'{backbone / 1e6:.2f}'),
        ('trained', _share(trained, backbone)),
        ('GFLOP forward', _number(cost.forward / GIGA)),
        ('backward', _number(cost.backward / GIGA)),
        ('both', _number(cost.step.flops / GIGA)),
        ('MiB kept', _number(cost.kept / MIB)),
        ('in backbone', _number(cost.step.kept.get('backbone', 0) / MIB)),
    ]
    if cost.peak is not None:
        columns += [('GiB peak', f'{cost.peak / GIB:.2f}'), ('images/s', f'{cost.images_per_second:.1f}')]
    return columns


def _tuned(name: str) -> str:
    return name.replace('freeze_', 'finetune_', 1)


def ratios(costs: list[Cost]) -> dict[str, tuple[float, float]]:
    """Operations and kept bytes of each frozen detector, as parts of those of the same one fine-tuned."""
    by_name = {cost.name: cost for cost in costs}
    found = {}
    for name, frozen in by_name.items():
        tuned = by_name.get(_tuned(name))
        if name.startswith('freeze_') and tuned:
            found[name] = frozen.step.flops / tuned.step.flops, frozen.kept / tuned.kept
    return found


def report(costs: list[Cost], setting: Setting, form: str) -> str:
    """The costs as text, with what they hold for.

    Args:
        form: ``'table'``, ``'markdown'`` or ``'json'``, which has the numbers of every part of the models.
    """
    if form == 'json':
        content = dict(setting=asdict(setting), multiply_add=2, costs=[asdict(cost) for cost in costs])
        return json.dumps(content, indent=1)
    return '\n'.join([table([_columns(cost) for cost in costs], form), '', *_notes(costs, setting)])


def _notes(costs: list[Cost], setting: Setting) -> list[str]:
    notes = [
        f'One step of {setting.words}, random weights, generated images, no optimiser; a multiply-add is 2 FLOP.',
        'Counted: convolutions, matrix products, attention. Not counted: elementwise operations, normalisation, '
        'pooling, interpolation, RoIAlign, NMS, deformable convolutions.',
    ]
    seen: dict[str, list[str]] = {}
    for cost in costs:
        if cost.rois:
            heads = ', '.join(f'{number} in {head}' for head, number in cost.rois.items())
            seen.setdefault(heads, []).append(cost.name)
    notes += [f'RoIs: {heads} ({", ".join(names)}).' for heads, names in seen.items()]
    for name, (flops, kept) in ratios(costs).items():
        notes.append(f'{name} / {_tuned(name)}: {flops:.3f} of the operations, {kept:.3f} of the bytes kept.')
    return notes


# --- figure ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AP:
    """The AP of a config, in points of 100, and where it is from: ``'measured'``, ``'published'`` or ``'given'``."""

    value: float
    source: str


# The marker is the arm's.
_FILLS = dict(
    measured={}, published=dict(markerfacecolor='white'), given=dict(fillstyle='left', markerfacecoloralt='white')
)


def find_ap(
    costs: list[Cost], given: dict[str, float], metafile: Path | None = None, work_dirs: Path = Path('work_dirs')
) -> dict[str, AP]:
    """Box AP by name of the config: that given, otherwise that of its finished run, otherwise that published.

    Args:
        given: name -> points of 100.
        metafile: with published results, whose runs are looked for in ``work_dirs/<name of the config>``.
    """
    found = {}
    for row in read_published(metafile, work_dirs) if metafile else []:
        if row.metric == 'box AP':
            measured = row.measured is not None
            value, source = (row.measured, 'measured') if measured else (row.published, 'published')
            found[row.config] = AP(value, source)
    found |= {name: AP(value, 'given') for name, value in given.items()}
    return {cost.name: found[cost.name] for cost in costs if cost.name in found}


def _value(cost: Cost, axis: str) -> float:
    if axis == 'flops':
        return cost.step.flops / GIGA
    return (cost.kept if cost.peak is None else cost.peak) / GIB


def _label(costs: Iterable[Cost], axis: str) -> str:
    if axis == 'flops':
        return 'operations of a training step (GFLOP, multiply-add = 2)'
    return 'kept for backward (GiB)' if any(cost.peak is None for cost in costs) else 'peak memory of a step (GiB)'


def draw(costs: list[Cost], aps: dict[str, AP], path: str | Path, axis: str = 'flops', title: str = '') -> list[Path]:
    """AP against what a training step costs, a line between configs that differ in their initialisation alone.

    Colours and markers are those of initialisations, as in all pictures here; a published AP is hollow, one given by
    hand half. Without any AP: bars of forward and backward pass, or of bytes.

    Args:
        aps: of :func:`find_ap`; configs without one are left out.
        path: file to write, see :func:`rethink.analysis.pictures.save`.
        axis: ``'flops'`` or ``'memory'`` (on a GPU the peak, otherwise the bytes kept for backward).
        title: of the picture.
    """
    height = 4.5 if aps else 1.6 + 0.32 * len(costs)
    figure, axes = plt.subplots(figsize=(7, height), layout='constrained')
    if aps:
        draw_ap(axes, [cost for cost in costs if cost.name in aps], aps, axis)
    else:
        _draw_bars(axes, costs, axis)
        axes.set(xlabel=_label(costs, axis))
    axes.set(title=title)
    axes.spines[['top', 'right']].set_visible(False)
    files = pictures.save(figure, path)
    plt.close(figure)
    return files


def _parts(name: str) -> tuple[str, str]:
    """What is trained, and the detector: ``freeze_r101_adapter_fpn_72e`` is ``r101_fpn_72e``, with adapters."""
    init, _, detector = name.partition('_')
    if init not in pictures.ARMS:
        return '', name
    return (ADAPTERS, detector.replace('_adapter', '')) if '_adapter' in name else (init, detector)


def draw_ap(axes: Axes, costs: list[Cost], aps: dict[str, AP], axis: str = 'flops') -> None:
    """AP of each config against its cost, as in :func:`draw`."""
    detectors: dict[str, list[Cost]] = {}
    for cost in costs:
        detectors.setdefault(_parts(cost.name)[1], []).append(cost)
    named: dict[str, list[tuple[float, float]]] = {}
    for detector, group in detectors.items():
        group.sort(key=lambda cost: _value(cost, axis))
        places = [(_value(cost, axis), aps[cost.name].value) for cost in group]
        axes.plot(*zip(*places, strict=True), color='lightgrey', zorder=1)
        for cost, place in zip(group, places, strict=True):
            init, ap = _parts(cost.name)[0], aps[cost.name]
            arm = pictures.LOOKS[pictures.ARMS[init]] if init else pictures.LOOKS[-1]
            look = dict(color=arm.colour, marker=arm.marker, linestyle='', markersize=7, **_FILLS[ap.source])
            axes.plot(*place, label=f'{init}, {ap.source}', **look)
        named[detector] = places
    # Above the line and what it joins, from its end that is nearer to the edge, so that the name stays inside.
    middle = fmean(at for places in named.values() for at, _ in places) if named else 0
    for detector, places in named.items():
        right = fmean(at for at, _ in places) > middle
        place = (max if right else min)(at for at, _ in places), max(value for _, value in places)
        look = dict(fontsize=8, ha='right' if right else 'left')
        axes.annotate(detector, place, xytext=(4 if right else -4, 9), textcoords='offset points', **look)
    axes.set(ylabel='box AP', xlabel=_label(costs, axis))
    axes.margins(0.2)
    axes.grid(alpha=0.25)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [label.removeprefix(', ') for label in handles]
    axes.legend(
        handles.values(), labels, frameon=False, fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.14), ncols=3
    )


def _draw_bars(axes: Axes, costs: list[Cost], axis: str) -> None:
    for at, cost in enumerate(costs):
        init = _parts(cost.name)[0]
        colour = pictures.LOOKS[pictures.ARMS[init]].colour if init else pictures.GREY
        total = _value(cost, axis)
        if axis == 'flops':
            axes.barh(at, cost.forward / GIGA, color=colour, label='forward')
            axes.barh(at, cost.backward / GIGA, left=cost.forward / GIGA, color=colour, alpha=0.45, label='backward')
        else:
            axes.barh(at, total, color=colour)
        axes.text(total, at, f' {total:.4g}', va='center', fontsize=8)
    axes.set_yticks(range(len(costs)), [cost.name for cost in costs], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_axisbelow(True)
    axes.grid(alpha=0.25, axis='x')
    if axis == 'flops':
        handles = [plt.Rectangle((0, 0), 1, 1, color='grey', alpha=alpha) for alpha in (1, 0.45)]
        axes.figure.legend(handles, ['forward', 'backward'], frameon=False, loc='outside lower center', ncols=2)
