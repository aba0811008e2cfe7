"""How far a backbone has moved from what it began with, layer by layer.

Proper Reuse of Image Classification Features Improves Object Detection (Vasconcelos et al., CVPR 2022) explains by it
why freezing helps: fine-tuning moves the features of the classifier, and frozen ones cannot move. Here the movement of
the parameters and of BN's running statistics is measured, from two checkpoints and without a forward pass; a layer in
front of a normalisation may be scaled without any effect, which the cosine tells and the relative change does not.
"""

import csv
import io
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..engine.weights import read_weights
from ..errors import ConfigError, some_names
from ..trust.tensors import check_tensors, read_state_dict
from . import pictures
from .curves import STYLES
from .markdown import markdown_table

# What a layer has: weights, bias included; as a normalisation its scale and shift; as BN its running statistics.
KINDS = dict(
    weights='weights', affine='norm: scale and shift', mean='BN: running mean', variance='BN: running variance'
)


@dataclass(frozen=True)
class Layer:
    """What a layer has of one kind, as one vector w0 before and w1 after, in float64.

    Args:
        name: of the layer in the backbone, such as ``layer1.0.conv1``.
        stage: which it is part of.
        kind: a key of :data:`KINDS`.
        size: numbers in the vector.
        norm: ‖w0‖.
        norm_after: ‖w1‖.
        change: ‖w1 − w0‖.
        product: w0 · w1.
    """

    name: str
    stage: str
    kind: str
    size: int
    norm: float
    norm_after: float
    change: float
    product: float

    @property
    def relative(self) -> float:
        """‖w1 − w0‖ / ‖w0‖; 0 where nothing moved, nan where all was 0 before and is not."""
        if self.change == 0:
            return 0.0
        return self.change / self.norm if self.norm else math.nan

    @property
    def cosine(self) -> float:
        """Of the angle between w0 and w1: exactly 1 where nothing moved, nan where one of them is 0."""
        if self.change == 0:
            return 1.0
        norms = self.norm * self.norm_after
        return max(-1.0, min(1.0, self.product / norms)) if norms else math.nan


def joined(layers: Sequence[Layer], name: str) -> Layer:
    """Layers of one kind as one: their vectors put behind each other."""

    def norm(key: str) -> float:
        return math.hypot(*(getattr(layer, key) for layer in layers))

    first = layers[0]
    return Layer(
        name,
        first.stage,
        first.kind,
        sum(layer.size for layer in layers),
        norm('norm'),
        norm('norm_after'),
        norm('change'),
        math.fsum(layer.product for layer in layers),
    )


@dataclass(frozen=True)
class Drift:
    """From one checkpoint to another.

    Args:
        name: of the second.
        layers: in the order of the checkpoint, which is that of depth.
        new: tensors that only the second has: adapters, and norms that a detector adds to a transformer's outputs.
        dropped: tensors of the first that the second has no use for, such as a classifier.
    """

    name: str
    layers: list[Layer]
    new: list[str]
    dropped: list[str]

    def of(self, kind: str) -> list[Layer]:
        return [layer for layer in self.layers if layer.kind == kind]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if self.of(kind)]

    def stages(self, kind: str) -> dict[str, Layer]:
        """Each stage's layers of a kind as one, in the order of depth."""
        names = dict.fromkeys(layer.stage for layer in self.layers)
        parts = {name: [layer for layer in self.of(kind) if layer.stage == name] for name in names}
        return {name: joined(layers, name) for name, layers in parts.items() if layers}

    def whole(self, kind: str) -> Layer:
        return joined(self.of(kind), 'all')

    @property
    def moved(self) -> bool:
        return any(layer.change for layer in self.layers)


# --- reading ---------------------------------------------------------------------------------------------------------

_STAGE = re.compile(r'((?:layer|stage|block|feature)s?[._]?\d+)(?:\.|$)')


def _read_backbone(path: str | os.PathLike) -> dict[str, Tensor]:
    """Floating tensors of the backbone in a checkpoint.

    Beside the layouts of :mod:`rethink.engine.weights`, all of a file without any of their names, which is a
    classifier as timm writes it.
    """
    path = str(path)
    if '://' in path:
        raise ConfigError(f'{path} is not a local file; download it and name the file.')
    weights = read_state_dict(path, 'to compare')
    known = any(key.startswith(('backbone.', 'encoder_q.')) for key in weights) or 'conv1.weight' in weights
    backbone = read_weights(path).backbone if known else weights
    check_tensors(backbone, path)
    found = {key.removeprefix('timm_model.'): one for key, one in backbone.items() if one.is_floating_point()}
    if not found:
        raise ConfigError(f'{path} has no weights of a backbone; name a checkpoint of a detector or a classifier.')
    return found


def _stages(names: Sequence[str]) -> dict[str, str]:
    """The stage of each tensor: layer1 …, layers.0 …, blocks.0 …; stem before the first of these, and last after."""
    stages, place = {}, 'stem'
    for name in names:
        match = _STAGE.match(name)
        place = match[1] if match else place
        stages[name] = place if match or place == 'stem' else 'last'
    return stages


def _is_new(name: str) -> bool:
    """Whether a classifier never has such a tensor, but a detector may."""
    return 'adapter' in name.split('.') or re.match(r'norm\d+\.', name) is not None


def _match(before: dict[str, Tensor], after: dict[str, Tensor], paths: tuple[str, str]) -> tuple[list, list, list]:
    """Tensors in both, new ones, dropped ones.

    Raises:
        ConfigError: they are of different architectures, or the first does not cover the backbone of the second.
    """
    first, second = paths
    shared = [name for name in after if name in before]
    if not shared:
        raise ConfigError(
            f'{first} and {second} share no tensor of a backbone: the first begins with {next(iter(before))} and the '
            f'second with {next(iter(after))}; name checkpoints of one backbone. That of a frozen run has the '
            "initialisation under the detector's names."
        )
    differing = [name for name in shared if before[name].shape != after[name].shape]
    if differing:
        name = differing[0]
        raise ConfigError(
            f'{len(differing)} of the {len(shared)} tensors that {first} and {second} share have different shapes '
            f'({name}: {tuple(before[name].shape)} and {tuple(after[name].shape)}); name checkpoints of one backbone.'
        )
    lacking = [name for name in after if name not in before]
    if uncovered := [name for name in lacking if not _is_new(name)]:
        raise ConfigError(
            f'{first} does not cover the backbone of {second}: it lacks {len(uncovered)} of {len(after)} tensors '
            f'({some_names(uncovered)}); name the checkpoint that the training began with.'
        )
    dropped = [name for name in before if name not in after]
    stages = set(_stages(shared).values()) - {'stem', 'last'}
    # A detector leaves whole stages and the classifier away; layers within a stage are another architecture's.
    if deeper := [name for name in dropped if (found := _STAGE.match(name)) and found[1] in stages]:
        raise ConfigError(
            f'{first} has {len(deeper)} tensors in the stages of {second} that the latter lacks '
            f'({some_names(deeper)}); name checkpoints of one backbone.'
        )
    return shared, lacking, dropped


def _key(name: str, weights: dict[str, Tensor]) -> tuple[str, str]:
    """Layer and kind of a tensor."""
    layer, _, leaf = name.rpartition('.')
    if leaf in ('running_mean', 'running_var'):
        return layer, 'mean' if leaf == 'running_mean' else 'variance'
    if leaf not in ('weight', 'bias'):
        return name, 'weights'
    weight = weights.get(f'{layer}.weight')
    return layer, 'affine' if weight is not None and weight.ndim == 1 else 'weights'


def _vector(tensors: list[Tensor]) -> Tensor:
    return torch.cat([one.reshape(-1).double() for one in tensors])


def measure(before: dict[str, Tensor], after: dict[str, Tensor], shared: Sequence[str]) -> list[Layer]:
    """Layers of a backbone in the order of ``shared``, names of tensors that both have."""
    stages, parts = _stages(shared), {}
    for name in shared:
        parts.setdefault(_key(name, after), []).append(name)
    layers = []
    for (layer, kind), names in parts.items():
        old, new = (_vector([weights[name] for name in names]) for weights in (before, after))
        numbers = (old.norm(), new.norm(), (new - old).norm(), old @ new)
        layers.append(Layer(layer, stages[names[0]], kind, len(old), *map(float, numbers)))
    return layers


def read(before: str | os.PathLike, after: Sequence[str | os.PathLike]) -> list[Drift]:
    """How far the backbone of each checkpoint is from that of a first one.

    Args:
        before: what they began with: the classifier's checkpoint or, with the same weights, any of a frozen run.
        after: checkpoints of detectors with this backbone.

    Raises:
        ConfigError: a file is missing, named twice, no checkpoint, not finite, or of another backbone.
    """
    paths = [Path(path) for path in (before, *after)]
    resolved = [path.resolve() for path in paths]
    if twice := next((path for path in resolved if resolved.count(path) > 1), None):
        raise ConfigError(f'{twice} is named twice; name the checkpoint before training and others after it.')
    first, found = _read_backbone(before), []
    for path, name in zip(paths[1:], _names(paths[1:]), strict=True):
        second = _read_backbone(path)
        shared, new, dropped = _match(first, second, (str(before), str(path)))
        found.append(Drift(name, measure(first, second, shared), new, dropped))
    return found


def _names(paths: list[Path]) -> list[str]:
    """Folder and file, which are a run and what of it; the folder alone where that tells them apart."""
    folders = [path.resolve().parent.name for path in paths]
    if len(set(folders)) == len(paths):
        return folders
    return [f'{folder}/{path.stem}' for folder, path in zip(folders, paths, strict=True)]


# --- tables and words ------------------------------------------------------------------------------------------------


def rows(drifts: list[Drift]) -> list[dict]:
    """One dict for each checkpoint, layer and kind."""
    return [
        dict(
            checkpoint=drift.name,
            layer=layer.name,
            stage=layer.stage,
            kind=layer.kind,
            size=layer.size,
            norm=layer.norm,
            change=layer.change,
            relative=_or_none(layer.relative),
            cosine=_or_none(layer.cosine),
        )
        for drift in drifts
        for layer in drift.layers
    ]


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def to_csv(drifts: list[Drift]) -> str:
    """:func:`rows`; an empty entry is None."""
    text, found = io.StringIO(), rows(drifts)
    writer = csv.DictWriter(text, found[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def to_json(drifts: list[Drift]) -> str:
    """:func:`rows`, and each stage and the whole backbone by kind."""
    summary = {
        drift.name: {
            kind: {
                layer.name: dict(relative=_or_none(layer.relative), cosine=_or_none(layer.cosine))
                for layer in (*drift.stages(kind).values(), drift.whole(kind))
            }
            for kind in drift.kinds
        }
        for drift in drifts
    }
    return json.dumps(dict(stages=summary, layers=rows(drifts)), indent=1)


def table(drift: Drift) -> str:
    """Stages as a Markdown table: relative change of each kind, and the cosine of the weights."""
    title = ['stage', *(KINDS[kind] for kind in drift.kinds), 'weights: cosine']
    lines = []
    parts = {kind: {**drift.stages(kind), 'all': drift.whole(kind)} for kind in drift.kinds}
    for stage in (*dict.fromkeys(layer.stage for layer in drift.layers), 'all'):
        cells = [_text(parts[kind].get(stage), 'relative') for kind in drift.kinds]
        cells.append(_text(parts.get('weights', {}).get(stage), 'cosine'))
        lines.append([stage, *cells])
    return markdown_table(title, lines, len(title) - 1)


def _text(layer: Layer | None, what: str) -> str:
    value = math.nan if layer is None else getattr(layer, what)
    if math.isnan(value):
        return '–'
    # Nothing at all is told from very little.
    return f'{value:g}' if value == (what == 'cosine') else f'{value:.4f}'


def words(drift: Drift) -> str:
    """Which stage moved most, and what did not move."""
    tensors = f'{len(drift.layers)} parts of layers'
    if not drift.moved:
        text = f'**{drift.name}:** nothing moved; all {tensors} are bit for bit what they were.'
    else:
        sentences = []
        for kind in drift.kinds:
            whole, stages = drift.whole(kind), drift.stages(kind)
            measured = {name: stage.relative for name, stage in stages.items() if not math.isnan(stage.relative)}
            if not whole.change:
                sentences.append(f'{KINDS[kind]} did not move.')
                continue
            text = f'{KINDS[kind]} moved by {_text(whole, "relative")} of their norm'
            if len(measured) > 1:
                most, least = max(measured, key=measured.get), min(measured, key=measured.get)
                text += f', {most} most ({measured[most]:.4f}) and {least} least ({measured[least]:.4f})'
            if kind == 'weights':
                # Which moved most may only have grown or shrunk; turned it has where the cosine is low.
                turned = min(stages.values(), key=lambda stage: math.inf if math.isnan(stage.cosine) else stage.cosine)
                text += f'; their cosine is {_text(whole, "cosine")}, lowest in {turned.name} ({turned.cosine:.4f})'
            sentences.append(f'{text}.')
        still = [
            name
            for name in dict.fromkeys(layer.stage for layer in drift.layers)
            if not any(layer.change for layer in drift.layers if layer.stage == name)
        ]
        if still:
            sentences.append(f'Bit for bit as before: {", ".join(still)}.')
        text = f'**{drift.name}:** ' + ' '.join(sentences)
    if drift.new:
        text += f' Not compared, as it is new: {some_names(drift.new)}.'
    if drift.dropped:
        text += f' Not compared, as it is gone: {some_names(drift.dropped)}.'
    return text


# --- figure ----------------------------------------------------------------------------------------------------------


def draw(drifts: list[Drift], path: str | Path) -> list[Path]:
    """Relative change of each layer by depth, a panel for each kind and a line for each checkpoint.

    Args:
        path: file to write, see :func:`rethink.analysis.pictures.save`.
    """
    kinds = [kind for kind in KINDS if any(drift.of(kind) for drift in drifts)]
    figure, panels = plt.subplots(
        len(kinds), 1, figsize=(8.5, 1.2 + 1.9 * len(kinds)), layout='constrained', squeeze=False
    )
    places = pictures.places(drift.name.split('_')[0] for drift in drifts)
    for axes, kind in zip(panels[:, 0], kinds, strict=True):
        for number, drift in enumerate(drifts):
            look = pictures.LOOKS[places[drift.name.split('_')[0]]]
            values = [layer.relative for layer in drift.of(kind)]
            axes.plot(
                values,
                marker=look.marker,
                markersize=3,
                linewidth=1,
                linestyle=STYLES[number % len(STYLES)],
                color=look.colour,
                label=drift.name,
            )
        _mark_stages(axes, drifts[0].of(kind))
        # A little below 0, so that what did not move is seen.
        axes.set(ylabel='relative change', ylim=(-0.04 * axes.get_ylim()[1], None))
        axes.set_title(KINDS[kind], fontsize=10, loc='left', pad=14)
        axes.grid(alpha=0.25, axis='y')
        axes.spines[['top', 'right']].set_visible(False)
    panels[-1, 0].set_xlabel('layers of the kind, in the order of depth')
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc='outside lower center', ncols=min(len(labels), 4))
    files = pictures.save(figure, path)
    plt.close(figure)
    return files


def _mark_stages(axes: Axes, layers: list[Layer]) -> None:
    """A line where a stage begins, and its name above where there is room."""
    axes.set_xticks([])
    axes.set_xlim(-0.5, len(layers) - 0.5)
    begins = [at for at, layer in enumerate(layers) if at == 0 or layer.stage != layers[at - 1].stage]
    room, named = 0.07 * len(layers), -math.inf
    for at in begins:
        axes.axvline(at - 0.5, color='grey', linewidth=0.6, alpha=0.5)
        # The stem is short; beside the axes there is room.
        short = at == 0 and len(begins) > 1 and begins[1] < room
        if short or at - named >= room:
            named = -math.inf if short else at
            place = dict(ha='right', x=begins[1] - 0.7) if short else dict(ha='left', x=at - 0.4)
            axes.text(
                y=1.02,
                s=layers[at].stage,
                transform=axes.get_xaxis_transform(),
                fontsize=7,
                color='dimgrey',
                **place,
            )
