"""In what two or more configs differ: value by value, lists aligned, grouped by what a difference is about.

The items of a list are aligned before they are compared: transforms, hooks and all else that has a ``type`` with items
of that type, whatever their places; items without one by how much of them is equal. A value that is equal in all
configs is no difference. 1 and True differ, as do a list and a tuple; 1 and 1.0 do not.

A type is compared by its name: ``mmdet.ResNet`` where mmdet is the default scope, a class that a ``read_base`` config
imports, and ``ResNet`` are one.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..config_keys import is_read
from ..config_lines import Path_
from ..errors import ConfigError
from .groups import GROUPS, NAMES
from .provenance import ResolvedConfig


class _Absent:
    """In place of the value of a config that has none."""

    def __repr__(self) -> str:
        return '—'


ABSENT = _Absent()


class Difference(NamedTuple):
    """One value that is not the same in all configs.

    Attributes:
        group: what it is about, one of GROUPS, or NAMES.
        label: its path in words, ``('train_pipeline', '[Resize]', 'scale')``: items of a list by their type or their
            index.
        paths: for each config keys and indices from its root; None where it has no such value.
        values: for each config; ABSENT where it has none.
    """

    group: str
    label: tuple[str, ...]
    paths: tuple[Path_ | None, ...]
    values: tuple

    @property
    def name(self) -> str:
        return dotted(self.label)

    @property
    def is_variable(self) -> bool:
        """Whether no run reads it, but only what the files make from it, which is a difference of its own."""
        return not is_read(self.label[0])


def dotted(label: Sequence[str]) -> str:
    """``train_pipeline[Resize].scale``"""
    return ''.join(one if one.startswith('[') else f'.{one}' for one in label).removeprefix('.')


# --- groups ----------------------------------------------------------------------------------------------------------

# The first that matches a dotted path decides.
_RULES = [
    (
        NAMES,
        r'work_dir|experiment_name|launcher|protocol|(.*\.)?_scope_|(visualizer|.*vis_backends)\b.*\.(name|save_dir)|'
        r'(visualizer\.)?vis_backends\b.*',  # where a run is watched
    ),
    ('schedule', r'(optim_wrapper|param_scheduler|train_cfg|auto_scale_lr|switch_from|optimizer|lr_config)\b.*'),
    (
        'schedule',
        r'max_(iters|epochs)|milestones|drops_before_end|learning_rates|base_lr|(train_dataloader\.)?batch_size',
    ),
    (
        'runtime',
        r'\w+_dataloader\.(num_workers|persistent_workers|pin_memory|prefetch_factor|multiprocessing_context)',
    ),
    ('freeze', r'(.*\.)?(frozen_\w+|freeze\w*|norm_eval|allow_random|requires_grad)(\b.*)?'),
    ('freeze', r'custom_hooks\[(TrainBNOnlyHook|FrozenFeaturesHook|Freeze\w*)\].*'),
    ('init', r'(.*\.)?(init_cfg|pretrained|zero_init_residual|load_from)(\b.*)?|weights'),
    ('init', r'custom_hooks(\[InitFromBaseHook\].*|.*\.checkpoint)'),
    ('norm', r'(.*\.)?(norm_cfg|norm_type|norm_layer|sync_bn)(\b.*)?|custom_hooks\[ReestimateBNHook\].*'),
    (
        'data',
        r'(train|val|test|tta|unlabelled)_(dataloader|dataset|pipeline|evaluator)\b.*|(dataset_type|data_root)\b.*',
    ),
    ('data', r'(metainfo|classes|num_classes|backend_args|allow_class_subset)\b.*|(model|.*)\.data_preprocessor\b.*'),
    ('data', r'model\b.*\.num_classes'),
    ('model', r'(model|tta_model|model_wrapper_cfg)\b.*'),
    (
        'runtime',
        r'(default_hooks|custom_hooks|env_cfg|vis_backends|visualizer|log_\w+|randomness|resume|(val|test)_cfg)\b.*',
    ),
    ('runtime', r'(custom_imports|default_scope|find_unused_parameters|compile|cfg|runner_type)\b.*'),
]
_RULES = [(group, re.compile(rule)) for group, rule in _RULES]
# Types that are there to freeze.
_FREEZES = {'FrozenBackbone', 'TrainableOptimWrapperConstructor'}


def _rule(name: str) -> str | None:
    return next((group for group, rule in _RULES if rule.fullmatch(name)), None)


def _of_variable(name: str, uses: dict[str, set[Path_]], seen: frozenset = frozenset()) -> Counter:
    """How many of the values that are made from a variable are about what."""
    found = Counter()
    for path in uses.get(name, ()):
        group = _rule(dotted([str(one) for one in path]))
        if group:
            found[group] += 1
        elif path[0] not in seen | {name}:
            found += _of_variable(path[0], uses, seen | {name})
    return found


def _group(label: tuple[str, ...], values: tuple, configs: Sequence[ResolvedConfig]) -> str:
    if label[-1] in ('type', 'constructor') and _FREEZES & {one for one in values if isinstance(one, str)}:
        return 'freeze'
    if label[-2:] == ('backbone', 'of') and ABSENT in values:  # FrozenBackbone(of=…)
        return 'freeze'
    group = _rule(dotted(label))
    if group is None:  # a variable, which is about what is made from it
        found = sum((_of_variable(label[0], config.uses) for config in configs), Counter())
        group = max(found, key=lambda one: (found[one], one)) if found else 'runtime'
    return group


# --- values ----------------------------------------------------------------------------------------------------------


def type_name(kind, scope: str = 'mmdet') -> str:
    """The name of a type without the default scope; that of a class by its package, unless it is of a common one."""
    if not isinstance(kind, str):
        return getattr(kind, '__name__', str(kind))
    *modules, name = kind.split('.')
    common = modules and (modules[0] == scope or len(modules) > 1 and modules[0] in ('mmengine', 'mmcv', 'torch'))
    return name if not modules or common else f'{modules[0]}.{name}'


def _same(one, other) -> bool:
    """Whether two values that are neither compared key by key nor item by item are equal."""
    if isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
        return all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _nested(value) -> bool:
    """Whether a value is a list that is compared item by item, which has a dict somewhere within."""
    return isinstance(value, list | tuple) and any(isinstance(one, dict) or _nested(one) for one in value)


# --- alignment -------------------------------------------------------------------------------------------------------


class _Item:
    """An item of a list, with what it is aligned by."""

    def __init__(self, index: int, value, scope: str) -> None:
        self.index, self.value = index, value
        self.typed = isinstance(value, dict) and 'type' in value
        self.kind = type_name(value['type'], scope) if self.typed else type(value).__name__
        self._leaves = None

    @property
    def leaves(self) -> Counter:
        if self._leaves is None:
            self._leaves = Counter(_leaves(self.value))
        return self._leaves

    def likeness(self, other: '_Item') -> float:
        """0 where the two cannot be one item; more the more of them is equal."""
        if self.kind != other.kind:
            return 0.0
        total = max(self.leaves.total(), other.leaves.total(), 1)
        return (1.0 if self.typed else 0.01) + (self.leaves & other.leaves).total() / total


def _leaves(value, path: str = '') -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, f'{path}.{key}')
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one, f'{path}[]')
    else:
        yield f'{path}={value!r}'


def align(ours: Sequence[_Item], theirs: Sequence[_Item]) -> list[tuple[int | None, int | None]]:
    """The pairs of the order-keeping alignment of greatest total likeness, with None where an item has no other.

    Lists in configs are short, so that every pair can be looked at (the dynamic programme of edit distances).
    """
    likeness = [[one.likeness(other) for other in theirs] for one in ours]
    best = [[0.0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i in reversed(range(len(ours))):
        for j in reversed(range(len(theirs))):
            pair = likeness[i][j] + best[i + 1][j + 1] if likeness[i][j] else 0.0
            best[i][j] = max(pair, best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(ours) or j < len(theirs):
        both = i < len(ours) and j < len(theirs)
        if both and likeness[i][j] and best[i][j] == likeness[i][j] + best[i + 1][j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif j == len(theirs) or both and best[i][j] == best[i + 1][j]:
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return pairs


def _slots(lists: list[list[_Item]]) -> tuple[list[list[_Item | None]], bool]:
    """The items of several lists that are one, in one order; and whether some typed item is at another place."""
    slots = [[item] for item in lists[0]]
    for number, items in enumerate(lists[1:], 1):
        known = [next(item for item in slot if item) for slot in slots]
        slots = [
            (slots[i] if i is not None else [None] * number) + [items[j] if j is not None else None]
            for i, j in align(known, items)
        ]
    moved, result = False, []
    for slot in slots:
        kind = next(item for item in slot if item)
        for other in result:
            # What one list lost here and another has gained elsewhere.
            there = next(item for item in other if item)
            if kind.typed and there.kind == kind.kind and all(None in pair for pair in zip(slot, other, strict=True)):
                other[:] = [one or two for one, two in zip(other, slot, strict=True)]
                moved = True
                break
        else:
            result.append(slot)
    return result, moved


def _slot_labels(slots: list[list[_Item | None]]) -> list[str]:
    """``[Resize]``, ``[Resize 2]`` for a second one, and the index of what has no type."""
    items = [next(item for item in slot if item) for slot in slots]
    seen, labels = Counter(), []
    for item in items:
        name = item.kind if item.typed else str(item.index)
        seen[name] += 1
        labels.append(f'[{name}]' if seen[name] == 1 else f'[{name} {seen[name]}]')
    return labels


# --- the difference --------------------------------------------------------------------------------------------------


class _Walk:
    def __init__(self, configs: Sequence[ResolvedConfig]) -> None:
        self.configs = configs
        self.scopes = [config.values.get('default_scope') or 'mmdet' for config in configs]

    def _difference(self, label, paths, values) -> Difference:
        return Difference(_group(label, values, self.configs), label, tuple(paths), tuple(values))

    def compare(self, values: Sequence, paths: Sequence[Path_ | None], label: tuple[str, ...]) -> Iterator[Difference]:
        if all(isinstance(value, dict) for value in values):
            for key in dict.fromkeys(key for value in values for key in value):
                yield from self.compare(
                    [value.get(key, ABSENT) for value in values],
                    [(*path, key) if key in value else None for path, value in zip(paths, values, strict=True)],
                    (*label, str(key)),
                )
        elif all(isinstance(value, list | tuple) for value in values) and any(map(_nested, values)):
            yield from self._lists(values, paths, label)
        elif not all(self._same(values[0], other, number, label) for number, other in enumerate(values)):
            whole = self._difference(label, paths, values)
            yield whole
            yield from self._within(whole)

    def _same(self, first, other, number: int, label) -> bool:
        if label[-1] == 'type' and first is not ABSENT and other is not ABSENT:
            return type_name(first, self.scopes[0]) == type_name(other, self.scopes[number])
        return _same(first, other)

    def _lists(self, values, paths, label) -> Iterator[Difference]:
        items = [
            [_Item(index, one, scope) for index, one in enumerate(value)]
            for value, scope in zip(values, self.scopes, strict=True)
        ]
        if len({len(value) for value in values}) == 1 and all(value == values[0] for value in values):
            slots, moved = [list(slot) for slot in zip(*items, strict=True)], False
        else:
            slots, moved = _slots(items)
        if len({type(value) for value in values}) > 1:
            yield self._difference((*label, 'kind'), paths, [type(value).__name__ for value in values])
        labels = _slot_labels(slots)
        if moved:
            common = [slot + [name] for slot, name in zip(slots, labels, strict=True) if None not in slot]
            orders = [
                tuple(slot[-1] for slot in sorted(common, key=lambda slot: slot[number].index))
                for number in range(len(values))
            ]
            yield self._difference((*label, 'order'), paths, orders)
        for slot, name in zip(slots, labels, strict=True):
            yield from self.compare(
                [ABSENT if item is None else item.value for item in slot],
                [None if item is None else (*path, item.index) for item, path in zip(slot, paths, strict=True)],
                (*label, name),
            )

    def _within(self, whole: Difference) -> Iterator[Difference]:
        """Weights and freezing inside a part that only some configs have are differences of their own."""
        for number, (value, path) in enumerate(zip(whole.values, whole.paths, strict=True)):
            for inner, one in _parts(value, ()):
                name = (*whole.label, *map(str, inner))
                group = _rule(dotted(name))
                if group == whole.group or not _acts(group, inner[-1], one):
                    continue
                at = [None] * len(whole.values)
                at[number] = (*path, *inner)
                found = [ABSENT] * len(whole.values)
                found[number] = one
                yield Difference(group, name, tuple(at), tuple(found))


def _parts(value, path: Path_) -> Iterator[tuple[Path_, object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, one in items:
        yield (*path, key), one
        yield from _parts(one, (*path, key))


def _acts(group: str | None, key, value) -> bool:
    """Whether an entry brings weights from a file, or freezes."""
    if group == 'init':
        return 'Pretrained' in str(value) if isinstance(value, dict | list | tuple) else value not in (None, False, '')
    if group != 'freeze' or isinstance(value, dict | list | tuple):
        return False
    return value is False if key == 'requires_grad' else value not in (None, False, -1)


def diff(configs: Sequence[ResolvedConfig], only: Sequence[str] = ()) -> list[Difference]:
    """All differences of two or more configs, in the order of GROUPS, those of NAMES last.

    Args:
        only: dotted paths below which differences are listed, ``('model.backbone',)``; all without any.

    Raises:
        ConfigError: a path of ``only`` is in none of the configs.
    """
    walk = _Walk(configs)
    found = list(walk.compare([config.values for config in configs], [()] * len(configs), ()))
    for path in only:
        if not any(_below(one, path) for one in found):
            _must_be_there(configs, path)
    if only:
        found = [one for one in found if any(_below(one, path) for path in only)]
    order = {group: number for number, group in enumerate((*GROUPS, NAMES))}
    return sorted(found, key=lambda one: order[one.group])


def find(values: dict, name: str) -> Path_:
    """Keys and indices of ``model.backbone``, ``train_pipeline.0`` or ``train_pipeline[Resize]``.

    Raises:
        ConfigError: there is no such value.
    """
    path, value, rest = (), values, name
    while rest:
        inside = _names(value)
        # A key may have dots.
        fits = [one for one in inside if re.match(re.escape(one) + r'(?=[.\[]|$)', rest)]
        if not fits:
            part = re.match(r'\[[^\]]*\]|[^.\[]*', rest)[0]
            near = difflib.get_close_matches(part, inside, 3) or list(inside)[:8]
            has = f', but {", ".join(near)}' if near else ''
            raise ConfigError(f'--only {name}: {dotted(list(map(str, path))) or "the config"} has no {part}{has}.')
        taken = max(fits, key=len)
        path, value = (*path, inside[taken]), value[inside[taken]]
        rest = rest[len(taken) :].removeprefix('.')
    return path


def _names(value) -> dict:
    """What the parts of a value are called in a dotted path."""
    if isinstance(value, dict):
        return {str(key): key for key in value}
    if not isinstance(value, list | tuple):
        return {}
    labels = _slot_labels([[_Item(index, one, 'mmdet')] for index, one in enumerate(value)])
    return {str(index): index for index in range(len(value))} | {label: index for index, label in enumerate(labels)}


def _must_be_there(configs: Sequence[ResolvedConfig], name: str) -> None:
    errors = []
    for config in configs:
        try:
            find(config.values, name)
        except ConfigError as error:
            errors.append(error)
    if len(errors) == len(configs):
        raise errors[0]


def _below(difference: Difference, name: str) -> bool:
    names = [difference.name, *('.'.join(map(str, path)) for path in difference.paths if path is not None)]
    return any(re.match(re.escape(name) + r'(?=[.\[]|$)', one) for one in names)


# --- fewer lines -----------------------------------------------------------------------------------------------------


class Change(NamedTuple):
    """One change of values, and all places that have it.

    ``max_iters`` and ``train_cfg.max_iters``, or the ``norm_cfg.type`` of backbone and heads, are one change. The
    first place is one that training reads, where there is one.
    """

    group: str
    places: tuple[Difference, ...]

    @property
    def values(self) -> tuple:
        return self.places[0].values

    @property
    def is_variable(self) -> bool:
        return self.places[0].is_variable


def _brings(variable: Difference, one: Difference) -> bool:
    """Whether a variable has the values of another difference, where it has any."""
    pairs = zip(variable.values, one.values, strict=True)
    return variable.group == one.group and all(a is ABSENT or a == b for a, b in pairs)


def changes(differences: Sequence[Difference]) -> list[Change]:
    """Differences of one group, last part of the path and values, together."""
    found: dict[tuple, list[Difference]] = {}
    for one in sorted(differences, key=lambda one: (one.is_variable, len(one.label))):
        key = (one.group, one.label[-1], repr(one.values))
        if one.is_variable and key not in found:
            key = next((known for known, (other, *_) in found.items() if _brings(one, other)), key)
        found.setdefault(key, []).append(one)
    order = {id(one): number for number, one in enumerate(differences)}
    together = [Change(places[0].group, tuple(places)) for places in found.values()]
    groups = [one.group for one in differences]
    return sorted(together, key=lambda one: (groups.index(one.group), order[id(one.places[0])]))


def unexpected(differences: Sequence[Difference], groups: Sequence[str]) -> list[Difference]:
    """Differences outside some groups; names and variables never count."""
    return [one for one in differences if one.group not in (*groups, NAMES) and not one.is_variable]
