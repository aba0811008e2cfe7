"""Which kinds of values MMEngine's part of a config takes, so that one of another kind is a sentence.

What is below ``model`` and the arguments of data sets, transforms, hooks and metrics are their classes' business, who
complain themselves when they are built; looked at are the entries that MMEngine, its loops and these tools read.
"""

import logging
from collections.abc import Callable, Iterator
from numbers import Real

from mmengine.config import Config

from ..config_tree import items
from ..errors import ConfigError


def _whole(least: int) -> tuple[str, Callable]:
    return (
        f'a whole number from {least}',
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
    )


def _whole_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()


def _texts(value) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)


def _is_built(value) -> bool:
    """An object in place of its config, which MMEngine also takes; not a value."""
    return not isinstance(value, str | bytes | Real | list | tuple | set | dict | type(None))


DICT = ('a dict', lambda value: isinstance(value, dict))
BUILT = ("a dict with a 'type'", lambda value: isinstance(value, dict) and 'type' in value or _is_built(value))
BUILT_OR_DICT = ('a dict', lambda value: isinstance(value, dict) or _is_built(value))
TEXT = ('a text', lambda value: isinstance(value, str))
FLAG = ('True or False', lambda value: isinstance(value, bool))
NUMBER = ('a number', lambda value: isinstance(value, Real) and not isinstance(value, bool))
COUNT, FROM_ZERO = _whole(1), _whole(0)
# Written as 1e4, or divided: MMEngine compares and divides by it.
LENGTH = ('a whole number from 1', lambda value: _whole_number(value) and value >= 1)
PATHS = ('a path, or a list of paths', lambda value: isinstance(value, str) or _texts(value))
TEXTS = ('a list of texts', lambda value: isinstance(value, str) or _texts(value))
PREFIX = (
    'a path, or a dict of paths',
    lambda value: (
        isinstance(value, str)
        or (isinstance(value, dict) and all(one is None or PATHS[1](one) for one in value.values()))
    ),
)
LOG_LEVEL = (
    "a level of logging, such as 'INFO'",
    lambda value: INDEX[1](value) or isinstance(value, str) and isinstance(logging.getLevelName(value), int),
)
INDEX = ('a whole number', lambda value: isinstance(value, int) and not isinstance(value, bool))
LIST = ('a list', lambda value: isinstance(value, list | tuple))
DICTS = (
    "a list of dicts with a 'type'",
    lambda value: isinstance(value, list | tuple) and all(map(BUILT[1], value)),
)
SEVERAL = (f'{BUILT[0]}, or a list of such', lambda value: BUILT[1](value) or DICTS[1](value))
SCHEDULES = (
    f'{BUILT[0]}, or a list of such',
    # With several optimisers, one or a list for the name of each.
    lambda value: (
        SEVERAL[1](value) or isinstance(value, dict) and bool(value) and all(map(SEVERAL[1], value.values()))
    ),
)

INDICES = (
    'a whole number, or a list of such',
    lambda value: INDEX[1](value) or isinstance(value, list | tuple) and all(map(INDEX[1], value)),
)
PAIRS = (
    'a list of pairs (from, interval)',
    lambda value: (
        value is None
        or LIST[1](value)
        and all(LIST[1](one) and len(one) == 2 and all(map(INDEX[1], one)) for one in value)
    ),
)
HOOKS = (
    "a dict of dicts with a 'type'",
    lambda value: isinstance(value, dict) and all(map(_or_none(BUILT)[1], value.values())),
)


def _or_none(kind: tuple[str, Callable]) -> tuple[str, Callable]:
    return f'{kind[0]}, or None', lambda value: value is None or kind[1](value)


def _named(*groups: tuple) -> dict[str, tuple[str, Callable]]:
    """Dotted name → what it takes, of pairs of what some take and their names."""
    return {name: kind for kind, names in groups for name in names.split()}


_LOADER = {'': DICT} | _named(
    (BUILT, 'dataset'),
    (COUNT, 'batch_size'),
    (FROM_ZERO, 'num_workers'),
    (FLAG, 'persistent_workers pin_memory drop_last'),
    (_or_none(BUILT), 'sampler batch_sampler collate_fn'),
)
_DATASET = _named(
    (_or_none(TEXT), 'data_root'),
    (_or_none(PATHS), 'ann_file'),
    (_or_none(PREFIX), 'data_prefix'),
    (_or_none(DICT), 'metainfo backend_args filter_cfg'),
    (_or_none(TEXTS), 'metainfo.classes'),
    (DICTS, 'pipeline datasets'),
    (BUILT, 'dataset'),
    (FLAG, 'test_mode'),
    (COUNT, 'times'),
)
# Of entries within others the outer stand first. Those that a config does not have are not looked at.
_ENTRIES = _named(
    (BUILT, 'model'),
    (_or_none(BUILT_OR_DICT), 'model.data_preprocessor model.backbone'),
    (COUNT, 'model.backbone.num_stages'),
    (
        _or_none(DICT),
        'train_cfg val_cfg test_cfg optim_wrapper auto_scale_lr log_processor custom_imports switch_from',
    ),
    (_or_none(DICT), 'optim_wrapper.clip_grad optim_wrapper.paramwise_cfg'),
    (_or_none(BUILT), 'model_wrapper_cfg'),
    (PAIRS, 'train_cfg.dynamic_intervals'),
    (INDICES, 'model.backbone.out_indices'),
    (DICT, 'env_cfg env_cfg.mp_cfg env_cfg.dist_cfg randomness'),
    (LENGTH, 'train_cfg.max_iters train_cfg.max_epochs train_cfg.val_interval'),
    (INDEX, 'train_cfg.val_begin'),
    (BUILT, 'optim_wrapper.optimizer'),
    (NUMBER, 'optim_wrapper.optimizer.lr optim_wrapper.optimizer.momentum optim_wrapper.optimizer.weight_decay'),
    (COUNT, 'optim_wrapper.accumulative_counts auto_scale_lr.base_batch_size'),
    (_or_none(SCHEDULES), 'param_scheduler'),
    (_or_none(SEVERAL), 'val_evaluator test_evaluator'),
    (_or_none(HOOKS), 'default_hooks'),
    (_or_none(DICTS), 'custom_hooks vis_backends tta_pipeline'),
    (_or_none(BUILT), 'visualizer tta_model'),
    (FLAG, 'train_cfg.by_epoch auto_scale_lr.enable env_cfg.cudnn_benchmark randomness.deterministic resume'),
    (FLAG, 'find_unused_parameters'),
    (_or_none(INDEX), 'randomness.seed'),
    (_or_none(TEXT), 'load_from default_scope work_dir experiment_name sync_bn'),
    (LOG_LEVEL, 'log_level'),
)
# Within a scheduler or a hook: counted in iterations or epochs.
_SCHEDULE = {
    'by_epoch': FLAG,
    'begin': ('a whole number from 0', lambda value: _whole_number(value) and value >= 0),
    'end': LENGTH,
    'milestones': (
        'a list of whole numbers',
        lambda value: isinstance(value, list | tuple) and all(map(_whole_number, value)),
    ),
    'gamma': NUMBER,
    'start_factor': NUMBER,
    'T_max': LENGTH,
}
_HOOK = {'interval': INDEX, 'max_keep_ckpts': INDEX, 'by_epoch': FLAG}
_TYPE = ('the name of a class, or a class', lambda value: isinstance(value, str | type) or callable(value))


def names() -> dict[str, str]:
    """The last part of each dotted name that is looked at below the top → that name, where there is one alone."""
    found = {}
    for name in (
        *_ENTRIES,
        *(f'train_dataloader.{one}' for one in _LOADER),
        *(f'train_dataloader.dataset.{one}' for one in _DATASET),
    ):
        found.setdefault(name.rpartition('.')[2], []).append(name)
    return {last: several[0] for last, several in found.items() if len(several) == 1 and last not in _ENTRIES and last}


# What a training or a test cannot be without; all else has a default of MMEngine.
_NEEDED = {
    None: (),
    'train': ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'),
    'test': ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'),
}


def check(cfg: Config, stage: str | None = None) -> None:
    """The first entry of a config that is of a kind with which MMEngine cannot go on.

    Args:
        stage: ``'train'`` or ``'test'``, for which the config must have what that needs.

    Raises:
        ConfigError: with the dotted name, what it is and what it should be.
    """
    for name, value, (wanted, fits) in _checked(cfg):
        if not fits(value):
            hint = '; on the command line a text with a comma is quoted twice, KEY="\'a,b\'"' if _cut(value) else ''
            raise ConfigError(
                f'{name} is {_show(value)}, and should be {wanted}, in {cfg.filename} or its overrides{hint}.'
            )
    for name in _NEEDED[stage]:
        if cfg.get(name) is None:
            raise ConfigError(f'{cfg.filename} has no {name}, so there is nothing to {stage}.')
    for part in ('val', 'test') if stage else ():
        names = [f'{part}_dataloader', f'{part}_cfg', f'{part}_evaluator']
        absent = [name for name in names if cfg.get(name) is None]
        if absent and len(absent) < len(names):
            there = ' and '.join(name for name in names if name not in absent)
            raise ConfigError(
                f'{cfg.filename} has {there}, and no {" and no ".join(absent)}: set all three, or all of them to None.'
            )


def _checked(cfg: Config) -> Iterator[tuple]:
    """Dotted name, value and kind of all that is looked at, the outer before the inner."""
    yield from _entries(cfg, '', _ENTRIES)
    for part in ('train', 'val', 'test'):
        name = f'{part}_dataloader'
        loader = cfg.get(name)
        if loader is None or _is_built(loader):
            continue
        yield from _entries(loader, name, _LOADER)
        if isinstance(loader, dict) and 'dataset' not in loader:
            yield f'{name}.dataset', None, BUILT
        yield from _dataset(loader.get('dataset') if isinstance(loader, dict) else None, f'{name}.dataset')
    schedules = cfg.get('param_scheduler') or []
    for index, one in enumerate([schedules] if isinstance(schedules, dict) else schedules):
        place = 'param_scheduler' if isinstance(schedules, dict) else f'param_scheduler.{index}'
        yield from _entries(one, place, _SCHEDULE)
    for key, one in (cfg.get('default_hooks') or {}).items():
        yield from _entries(one, f'default_hooks.{key}', _HOOK)
    for name in ('val_evaluator', 'test_evaluator'):
        found = cfg.get(name)
        for index, one in enumerate(found if isinstance(found, list | tuple) else [found]):
            place = f'{name}.{index}' if isinstance(found, list | tuple) else name
            yield from _entries(one, place, {'ann_file': _or_none(TEXT)})
    yield from _types(cfg, '')
    yield from _inits(cfg.get('model'), 'model')


# Of a part of a model; a class that has others takes them under names of its own.
_INIT = (
    "a dict with a 'type' or a 'checkpoint', or a list of such",
    lambda value: (
        value is None
        or isinstance(value, dict)
        or isinstance(value, list | tuple)
        and all(isinstance(one, dict) for one in value)
    ),
)


def _inits(tree, path: str) -> Iterator[tuple]:
    for key, value in items(tree):
        if key == 'init_cfg':
            yield f'{path}.{key}', value, _INIT
        yield from _inits(value, f'{path}.{key}')


def _entries(tree, prefix: str, kinds: dict) -> Iterator[tuple]:
    for name, kind in kinds.items():
        value = tree
        for key in name.split('.') if name else ():
            value = value.get(key, _ABSENT) if isinstance(value, dict | Config) else _ABSENT
        if value is not _ABSENT:
            yield '.'.join(filter(None, (prefix, name))), value, kind


_ABSENT = object()


def _dataset(dataset, name: str) -> Iterator[tuple]:
    if not isinstance(dataset, dict):
        return
    yield from _entries(dataset, name, _DATASET)
    yield from _dataset(dataset.get('dataset'), f'{name}.dataset')
    inner = dataset.get('datasets')
    for index, one in enumerate(inner if isinstance(inner, list | tuple) else ()):
        yield from _dataset(one, f'{name}.datasets.{index}')


def _types(tree, path: str) -> Iterator[tuple]:
    """Every ``type`` of the parts that are built."""
    for key, value in items(tree):
        place = f'{path}.{key}' if path else str(key)
        if key == 'type' and path:
            yield place, value, _TYPE
        else:
            yield from _types(value, place)


def _cut(value) -> bool:
    """Whether it may be a path that was cut at its commas."""
    return isinstance(value, list) and len(value) > 1 and isinstance(value[0], str) and '/' in value[0]


def _show(value) -> str:
    text = repr(value.to_dict() if hasattr(value, 'to_dict') else value)
    return text if len(text) <= 60 else f'{text[:57]}…'
