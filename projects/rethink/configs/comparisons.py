"""Comparisons that are declared next to the configs, and whether they hold.

The studies of a folder of configs (``study*.yml``, see :mod:`rethink.studies.study`) say:

    comparisons:
      - pair: ['pretrain_{x:.+}', 'scratch_{x}']
        differ: [initialisation, freezing]
    alone:
      classifier_r18_gn: the stand-in for ImageNet; nothing is compared with it

``{n}`` stands for one part of a name (no ``_``) and is the same in both names of a pair, ``{x:.+}`` for what the
expression behind the colon matches. Every pair of configs with such names must differ in each of the factors, and in
nothing else; every config must be in a pair, or ``alone`` with the reason.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError
from ..trust.yaml_files import entry, read_yaml
from .diff import NAMES, Difference, diff
from .provenance import ResolvedConfig

FILES = 'study*.yml'
_SCHEDULER = r'schedule/param_scheduler\[\w+( \d)?\]'
_TRAIN_SET = r'data/train_dataloader\.dataset(\.dataset|\.datasets\[[\w .]+\])*'
# What differs where a factor does, as `group/dotted name`.
FACTORS = {
    'initialisation': r'init/.*',
    'freezing': r'freeze/.*',
    'normalisation': r'norm/.*',
    # Pixels as the weights were trained with; without weights as in the other arm.
    'pixels': r'data/model\.data_preprocessor\.(mean|std|bgr_to_rgb|to_rgb)',
    'capacity': r'model/.*',
    'masks': r'model/model\.(type|roi_head\.mask_.*|train_cfg\.rcnn\.mask_size|test_cfg\.rcnn\.mask_thr_binary)',
    # What freezing allows: features that are computed once (FeatureClassifier).
    'cached features': r'(model/model|data/model\.data_preprocessor)\.type',
    # How long, and what is counted in iterations with it: drops, warm-up, evaluations, checkpoints.
    'length': rf'schedule/train_cfg\.(max_iters|max_epochs|val_interval)|{_SCHEDULER}\.(end|T_max|milestones)|'
    r'runtime/default_hooks\.(checkpoint|logger)\.interval|runtime/log_processor\.window_size',
    'learning rate': rf'schedule/(optim_wrapper\..*|learning_rates)|{_SCHEDULER}\.(gamma|start_factor)',
    'switch': r'schedule/switch_from\b.*|runtime/default_hooks\.switch',
    'augmentation': rf'{_TRAIN_SET}\.pipeline\b.*',
    'image size': r'data/.*\.(scale|size|crop_size)',
    'data share': rf'{_TRAIN_SET}\.(ann_file|indices)',
    'data': r'data/.*',
}
_FACTORS = {name: re.compile(rule) for name, rule in FACTORS.items()}


class Comparison(NamedTuple):
    """Two configs of a folder, by name, and the factors in which they may differ."""

    first: str
    second: str
    factors: tuple[str, ...]


def load(path: Path) -> tuple[list[Comparison], dict[str, str]]:
    """The comparisons of a study file, or of all in a folder, and the configs that are alone with their reasons.

    Raises:
        ConfigError: the folder has no study, or it is not what this page says; a factor is unknown, or a rule or an
            entry of ``alone`` fits no config.
    """
    if path.is_dir():
        files = sorted(path.glob(FILES))
        if not files:
            raise ConfigError(f'{path} has no {FILES}, which says what is compared.')
        loaded = [load(file) for file in files]
        return [one for found, _ in loaded for one in found], {k: v for _, alone in loaded for k, v in alone.items()}
    declared = read_yaml(path, 'study')
    names = sorted(file.stem for file in path.parent.glob('*.py'))
    found = []
    for number, rule in enumerate(entry(declared, 'comparisons', list, str(path), [])):
        where = f'{path}, comparisons[{number}]'
        texts = [*entry(rule, 'pair', list, where), *entry(rule, 'differ', list, where)]
        if len(rule['pair']) != 2 or not all(isinstance(text, str) for text in texts):
            raise ConfigError(f'{where} is not a pair of names and the factors in which they differ.')
        unknown = set(rule['differ']) - set(FACTORS)
        if unknown:
            raise ConfigError(f'{path} names {sorted(unknown)}; factors are {", ".join(FACTORS)}.')
        pairs = list(_pairs(*rule['pair'], names))
        if not pairs:
            raise ConfigError(f'{path} compares {" and ".join(rule["pair"])}, and no two configs are named so.')
        found += [Comparison(*pair, tuple(rule['differ'])) for pair in pairs]
    alone = entry(declared, 'alone', dict, str(path), {})
    gone = set(alone) - set(names)
    if gone:
        raise ConfigError(f'{path} says that {", ".join(sorted(gone))} is alone, and there is no such config.')
    return found, alone


def expression(pattern: str, known: dict[str, str]) -> re.Pattern:
    """A pattern of names as a regular expression, with the parts that are known in place."""
    result, seen = '', set()
    for text, name, rule in re.findall(r'([^{]*)(?:\{(\w+)(?::([^{}]*))?\})?', pattern):
        result += re.escape(text)
        if name in known:
            result += re.escape(known[name])
        elif name in seen:
            result += f'(?P={name})'
        elif name:
            result += f'(?P<{name}>{rule or "[^_]+"})'
            seen.add(name)
    return re.compile(result)


def _pairs(first: str, second: str, names: list[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        found = expression(first, {}).fullmatch(name)
        if found:
            other = expression(second, found.groupdict())
            yield from ((name, one) for one in names if one != name and other.fullmatch(one))


def undeclared(folder: Path) -> list[str]:
    """For each config that is in no comparison, a sentence that says what to add."""
    comparisons, alone = load(folder)
    known = {name for one in comparisons for name in one[:2]} | set(alone)
    return [
        f'{path} is in no comparison: add to {folder / FILES} a pair that it is one of, as `- pair: [{path.stem}, '
        f'NEIGHBOUR]` with `differ: [FACTORS]`, of {", ".join(FACTORS)}; or, if nothing is compared with it, its name '
        'and the reason below `alone`.'
        for path in sorted(folder.glob('*.py'))
        if path.stem not in known
    ]


def _is(factor: str, difference: Difference) -> bool:
    return bool(_FACTORS[factor].fullmatch(f'{difference.group}/{difference.name}'))


def check(comparison: Comparison, configs: tuple[ResolvedConfig, ResolvedConfig]) -> list[str]:
    """Sentences on what does not hold: a difference that is no declared factor, a factor in which there is none."""
    names = f'{comparison.first} and {comparison.second}'
    # A variable proves nothing: what is made from it differs as well, or nothing does.
    found = [one for one in diff(configs) if one.group != NAMES and not one.is_variable]
    wrong = []
    for one in found:
        if not any(_is(factor, one) for factor in comparison.factors):
            first, second = one.values
            wrong.append(f'{names} differ in {one.name} ({one.group}: {first!r} and {second!r}).')
    for factor in comparison.factors:
        if not any(_is(factor, one) for one in found):
            wrong.append(f'{names} do not differ in {factor}.')
    return wrong
