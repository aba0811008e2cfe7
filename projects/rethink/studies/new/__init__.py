"""A study of a user's own images: what pre-training is worth there (docs/your_data.md).

:func:`create` looks at the data and writes a folder of configs and a study.yml, which is run as any other study.
"""

import contextlib
import copy
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ... import checks
from ...configs import comparisons
from ...configs.provenance import read
from ...datasets import exports
from ...engine import launch
from ...engine.amp import slower
from ...errors import ConfigError, some_names
from ...files import exclusively, in_use, write_atomically
from ...reuse import tool
from ..backends.local import Local
from . import backbone, data, folder, hpt, lengths
from .backbone import Pixels
from .folder import ANNOTATIONS, DETECTORS, WEIGHTS, Setting

__all__ = ['DETECTORS', 'Asked', 'Pixels', 'create']


@dataclass(frozen=True)
class Asked:
    """What a user asks for; the arguments of ``tools/study.py new``.

    Args:
        name: of the study and its folder.
        command: as it was typed, for the comments of the files.
        train: labelled images: a folder or a file, see :mod:`rethink.datasets.exports`.
        val: the same; None: a part of ``train`` that is called so, or else a fifth of its images.
        backbone, options, weights: see :mod:`rethink.studies.new.backbone`.
        pixels: as the weights know them, where they do not say.
        detectors: of :data:`DETECTORS`.
        size: longer side of the images, or longer and shorter; None: of the data.
        batch: images in a step.
        iterations: of 1x; None: by the rule.
        budget: seconds in which all is trained; None: however long it takes.
        hpt: self-supervised pre-training as well.
        unlabelled: folder of images for it; None: the training images.
    """

    name: str
    command: str
    train: Path
    val: Path | None = None
    backbone: str = 'resnet50'
    options: dict | None = None
    weights: str | None = None
    pixels: Pixels | None = None
    detectors: Sequence[str] = tuple(DETECTORS)
    seeds: Sequence[int] = (0, 1, 2)
    size: Sequence[int] | None = None
    batch: int = 8
    iterations: int | None = None
    budget: float | None = None
    amp: bool = False
    hpt: bool = False
    unlabelled: Path | None = None


def create(asked: Asked, tools: Path) -> Iterator[str]:
    """Write the folder of a study, whole or not at all; yields what is found and decided, as it goes.

    Raises:
        ConfigError: the data or the backbone cannot be used, the budget is too small, or there is a folder of this
            name with something else in it.
    """
    if not re.fullmatch(r'[\w-][\w.-]*', asked.name):
        raise ConfigError(f'{asked.name!r} names no folder for a study; take letters, digits, _ and -.')
    place = Path(asked.name)
    with _part(place) as part:
        yield from _write(asked, part, tools)
        if place.exists():
            others = list(folder.differing(part, place))
            if others:
                raise ConfigError(
                    f'{place} is there and differs from what would be written in {some_names(others)}; name another '
                    'study, or remove this one.'
                )
            yield f'{place} is there already, the same.'
    yield f'{tool("study.py")} run {place}'


@contextlib.contextmanager
def _part(place: Path) -> Iterator[Path]:
    """A hidden folder beside ``place`` that becomes it when all is written; those of killed processes go."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for old in place.parent.glob(f'.{place.name}.*.part'):
        if not in_use(old):
            shutil.rmtree(old, ignore_errors=True)
    part = place.with_name(f'.{place.name}.{secrets.token_hex(4)}.part')
    try:
        with exclusively(part):
            yield part
        if not place.exists():
            os.replace(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(asked: Asked, part: Path, tools: Path) -> Iterator[str]:
    found = backbone.resolve(asked.backbone, asked.options)
    yield found.words + '.'
    labelled, said = _labelled(asked, part / ANNOTATIONS)
    yield '\n'.join(said).replace(str(part), asked.name)
    parts = {name: data.look(one) for name, one in labelled.items()}
    size = data.image_size(list(parts.values()), asked.size)
    yield data.report(parts, size)
    pixels, weights = backbone.fetch(found, asked.weights, part / WEIGHTS, asked.pixels)
    yield f'weights: {weights}\npixels: {pixels.words}.'
    rule, derived = lengths.by_the_rule(parts['train'].used, asked.batch)
    if asked.iterations:
        derived += f', which --iterations makes {asked.iterations}'
    setting = Setting(
        asked.name,
        asked.command,
        parts,
        all(one.data.has_masks for one in parts.values()),
        size,
        data.anchor_scale(parts['train'], size),
        found,
        pixels,
        weights,
        [DETECTORS[name] for name in asked.detectors],
        asked.iterations or rule,
        derived,
        asked.batch,
        asked.amp,
        tuple(asked.seeds),
        _unlabelled(asked, parts['train']) if asked.hpt else None,
    )
    yield _norm(setting)
    if asked.amp and slower():
        yield f'--amp: {slower()}'
    if setting.unlabelled:
        yield setting.unlabelled.words + ('.' if found.batch_norm else '; no arm of BN alone, as there is none.')
    _put(setting, part)
    if asked.budget:
        setting, said = _within(setting, asked.budget, part, tools)
        yield said
        _put(setting, part)
    yield f'{setting.rule}; the long schedule is {lengths.LONG} times as long: {lengths.LONG * setting.iterations}.'
    yield _checked(part)


def _labelled(asked: Asked, out: Path) -> tuple[dict[str, exports.Labelled], list[str]]:
    """``'train'`` and ``'val'`` → labelled images with the same classes; and what is to be said of them."""
    has = exports.parts(asked.train)
    train = exports.read(asked.train, out, 'train' if 'train' in has else None)
    said = [f'train: {sentence}' for sentence in train.said]
    if asked.val is None and 'val' not in has:
        both = exports.split(train, out)
        if train.annotations.is_relative_to(out):  # and not the user's own
            train.annotations.unlink()
        said += both[0].said
    else:
        own = exports.parts(asked.val) if asked.val else has
        val = exports.read(asked.val or asked.train, out, 'val' if 'val' in own else None)
        said += [f'val: {sentence}' for sentence in val.said]
        both = exports.same_classes(train, val, out)
        said += [one for one in both[0].said if one not in train.said]
    if 'test' in has and asked.val is None:
        said.append(f'The part test of {asked.train} is not used.')
    return dict(zip(('train', 'val'), both, strict=True)), said


def _unlabelled(asked: Asked, train: data.Part) -> hpt.Unlabelled:
    if asked.unlabelled is None:
        folder, source = Path(train.data.images).resolve(), 'those of training, without their labels'
        names = [image['file_name'] for image in json.loads(train.data.annotations.read_bytes())['images']]
    else:
        folder, source = asked.unlabelled.resolve(), f'all of {asked.unlabelled}'
        names = [str(path.resolve().relative_to(folder)) for path in exports.unlabelled(folder)]
    found = hpt.Unlabelled(folder, sorted(names), source)
    found.check()
    return found


def _norm(setting: Setting) -> str:
    """Which norm each arm has, and why.

    Raises:
        ConfigError: the backbone's BN has too few images in a step, and cannot be exchanged.
    """
    one, least = setting.backbone, folder.BN_BATCH
    if not one.batch_norm:
        return f'norm: {one.name} has no BN, so that any batch fits; all arms are the same network. FPN and heads: GN.'
    if not setting.swaps_norm:
        return (
            f'norm: BN of {setting.batch} images, enough from {least} on: fine-tuned and from scratch it is trained, '
            'with the statistics of the batch, so that the two arms differ in their initialisation alone; frozen it '
            'keeps those of the weights. FPN and heads: GN.'
        )
    if not one.norm_eval:
        raise ConfigError(
            f'{one.name} has BN, whose statistics of {setting.batch} images say little; take --batch {least}, or a '
            "backbone without BN or with norm_eval, as MMDetection's ResNets (--backbone resnet50)."
        )
    return (
        f'norm: BN of {setting.batch} images, fewer than {least}: fine-tuned it keeps the statistics of the weights '
        '(norm_eval), from scratch it is GN, so that the two arms differ in their norm as well: what their difference '
        f'is due to, --batch {least} would tell. FPN and heads: GN.'
    )


def _put(setting: Setting, part: Path) -> None:
    for name, text in folder.files(setting, part).items():
        write_atomically(part / name, text.encode())


def _within(setting: Setting, budget: float, part: Path, tools: Path) -> tuple[Setting, str]:
    """The setting with a 1x that fits into the budget, by the speed of this machine, and a sentence on it."""
    local = Local()
    speeds, said = {}, []
    for detector in setting.detectors:
        config = part / f'finetune_{detector}_1x.py'
        speeds[detector] = lengths.time_steps(config, tools, setting.amp, local.cores, setting.batch)
        said.append(f'{speeds[detector].step:.2g} s a step with {detector}')
    each = lengths.of_all(speeds, setting.detectors, setting.arms, len(setting.seeds))
    if setting.unlabelled:
        step = lengths.time_steps(part / f'{hpt.WHOLE}.py', tools, setting.amp, local.cores, hpt.BATCH).step
        takes = step * setting.unlabelled.iterations * hpt.arms(setting) * len(setting.seeds) / local.side_by_side
        said.append(f'{step:.2g} s with MoCo, whose trainings take {lengths.words(takes)}')
        budget -= takes
    images, sides = setting.parts['val'].number, local.side_by_side
    whole = lengths.duration(setting.iterations, each, images, sides)
    fits = lengths.fitted(setting.iterations, budget, each, images, sides)
    sentence = (
        f'budget: {", ".join(said)} (fine-tuned, {local.cores} thread{"s" * (local.cores > 1)}), {2 * len(each)} '
        f'trainings, {sides} at a time: {lengths.words(whole)} at most with 1x of {setting.iterations} iterations'
    )
    if fits == setting.iterations:
        return setting, f'{sentence}, which fits into {lengths.words(budget)}.'
    takes = lengths.duration(fits, each, images, sides)
    shorter = replace(
        setting, iterations=fits, rule=f'{setting.rule}; shortened to {fits} by --budget, which is another 1x'
    )
    return shorter, (
        f'{sentence}. That does not fit into {lengths.words(budget)}: both schedules are shortened, 1x to {fits} '
        f'iterations, which takes {lengths.words(takes)}; what is claimed of a long schedule needs one.'
    )


def _checked(part: Path) -> str:
    """What the checker and the comparisons say of the configs.

    Raises:
        ConfigError: an error is among it.
    """
    files = sorted(part.glob('*.py'))
    # Read once, and not for the checker and for the comparisons each.
    resolved = {file.stem: read(str(file)) for file in files}
    wrong, warned = [], []
    for file in files:
        cfg = launch.complete(copy.deepcopy(resolved[file.stem].config), str(file))
        launch.import_custom(cfg)
        for one in checks.check(cfg):
            if one.level in ('error', 'missing'):
                wrong.append(f'{file.stem}: {one.sentence()}')
            elif one.level == 'warning':
                warned.append(f'{file.stem}: {one.what}')
    if wrong:
        raise ConfigError(wrong[0])
    pairs = comparisons.load(part)[0]
    wrong = [one for pair in pairs for one in comparisons.check(pair, (resolved[pair.first], resolved[pair.second]))]
    if wrong:
        raise ConfigError(f'the comparisons of {part} do not hold: {wrong[0]}')
    found = f'{len(warned)} warnings:\n' + '\n'.join(warned) if warned else 'nothing found.'
    return f'{len(files)} configs, {len(pairs)} pairs differ in what is declared alone; the checker: {found}'
