"""Rules of keys that MMEngine and MMDetection take and never look up: misspelt, or of another class.

Most of a config is given to a class, which complains of what it does not know. Looked at is what they keep as a dict
and ask for single keys: a key is known if its name is anywhere in the source of the classes that get the dict.
"""

import ast
import difflib
import functools
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from mmengine.registry import HOOKS, LOOPS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner

from ..config_tree import items, type_name
from .facts import Facts
from .findings import Finding, rule
from .init import without_values

_SOURCE = 'the source of the classes that are given it'


@functools.lru_cache(maxsize=4096)
def _source_of(name: str) -> str:
    try:
        return inspect.getsource(sys.modules[name])
    except (OSError, TypeError, KeyError):
        return ''


@functools.lru_cache(maxsize=4096)
def _module_words(name: str) -> tuple[frozenset[str], frozenset[str]]:
    every, asked = set(), set()
    for node in ast.walk(ast.parse(_source_of(name))):
        if isinstance(node, ast.Attribute):
            every.add(node.attr)
            if 'cfg' in ast.unparse(node.value)[-12:]:
                asked.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            every.add(node.value)
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            every.add(node.arg)
        if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') in ('get', 'pop') and node.args:
            asked.add(getattr(node.args[0], 'value', None))
        elif isinstance(node, ast.Subscript):
            asked.add(getattr(node.slice, 'value', None))
    return frozenset(every), frozenset(one for one in asked if isinstance(one, str))


def _modules(kinds: Iterable[type]) -> list[str]:
    parents = [parent for kind in kinds if inspect.isclass(kind) for parent in inspect.getmro(kind)]
    names = dict.fromkeys(parent.__module__ for parent in parents)
    return [name for name in names if not name.startswith(('builtins', 'torch.', 'abc'))]


def unknown(kinds: Iterable[type], keys: Iterable[str]) -> set[str]:
    """Those keys that are no name or text in the modules of some classes and their parents.

    A module is parsed where its text has one of them, and only until all are found.
    """
    left = set(keys)
    for name in _modules(kinds):
        if any(str(key) in _source_of(name) for key in left):
            left -= _module_words(name)[0]
    return left


def words(kinds: Iterable[type]) -> tuple[set[str], set[str]]:
    """All names and texts in the modules of some classes and their parents; those that a dict is asked for."""
    found = [_module_words(name) for name in _modules(kinds)]
    every, asked = (set().union(*(one[number] for one in found)) for number in (0, 1))
    return every, {one for one in asked if one.isidentifier()}


@functools.lru_cache(maxsize=1024)
def class_words(kind: type) -> frozenset[str]:
    """All names and texts in the source of a class and its parents."""
    found = set()
    for one in inspect.getmro(kind) if inspect.isclass(kind) else ():
        try:
            found |= set(re.findall(r'\w+', inspect.getsource(one)))
        except (OSError, TypeError):
            continue
    return frozenset(found)


def _near(name: str, known: Iterable[str]) -> str | None:
    known = {one for one in known if one != name}
    lower = [one for one in known if one.lower() == name.lower()]
    return next(iter(lower or difflib.get_close_matches(name, known, 1, 0.8)), None)


def _unknown(where: str, key: str, who: str, known: Iterable[str]) -> Finding:
    near = _near(key, known)
    return Finding(
        'error' if near else 'warning',
        f'{where}.{key}',
        f'{where}.{key} is read by nothing: {who} does not ask for it' + (f', but for {near}.' if near else '.'),
        'the training is the same without it.',
        _SOURCE,
        f'rename it to {near}' if near else 'leave it out',
    )


# --- model -----------------------------------------------------------------------------------------------------------


def _classes(facts: Facts, tree, found: set) -> set:
    if isinstance(tree, dict) and 'type' in tree:
        kind = facts.model_class(tree['type'])
        if inspect.isclass(kind):
            found.add(kind)
    for _, inner in items(tree):
        _classes(facts, inner, found)
    return found


# MMDetection's configs have it from times when it was read.
_LEFT_OVER = {'debug'}


@functools.lru_cache(maxsize=256)
def _somewhere(name: str, packages: frozenset[str]) -> bool:
    """Whether a name is anywhere in the source of some packages."""
    found = re.compile(rf'\b{re.escape(name)}\b')
    # MMDetection before the thousands of files of PyTorch.
    folders = (Path(sys.modules[package].__file__).parent for package in sorted(packages))
    texts = (file.read_text() for folder in folders for file in folder.glob('[!.]*/**/*.py'))
    return any(name in text and found.search(text) for text in texts)


def _cfgs(tree, path: str) -> Iterator[tuple[str, dict]]:
    """``train_cfg`` and ``test_cfg`` at any depth of a model."""
    for key, inner in items(tree):
        place = f'{path}.{key}'
        if key in ('train_cfg', 'test_cfg', 'tta_cfg') and isinstance(inner, dict):
            yield place, inner
        else:
            yield from _cfgs(inner, place)


def _keys(cfg, path: str) -> Iterator[tuple[str, str]]:
    """Keys of a dict and of those within; what has a ``type`` is built, and its class complains itself."""
    for key, inner in items(cfg):
        if isinstance(key, str):
            yield path, key
        if not (isinstance(inner, dict) and 'type' in inner):
            yield from _keys(inner, f'{path}.{key}')


_OF_RUNNER = {
    'env_cfg': 'cudnn_benchmark mp_cfg dist_cfg resource_limit',
    'auto_scale_lr': 'base_batch_size enable',
}


@rule('ignored-key')
def ignored_key(facts: Facts) -> Iterator[Finding]:
    yield from _of_model(facts)
    yield from _of_data(facts)
    yield from _of_optimizer(facts)
    for name, keys in _OF_RUNNER.items():
        for key in facts.cfg.get(name) or {}:
            if key not in keys.split():
                yield _unknown(name, key, 'the Runner', keys.split())
    yield from _of_loops(facts)


def _of_loops(facts: Facts) -> Iterator[Finding]:
    """``test_cfg`` is the loop of a test, built after the training; MMDetection 2 had something else there."""
    for name in ('val_cfg', 'test_cfg'):
        one = facts.cfg.get(name) or {}
        kind = facts.class_of(LOOPS, one.get('type') or f'{name.partition("_")[0].title()}Loop')
        parents = [one for one in inspect.getmro(kind)[:-1] if '__init__' in vars(one)] if kind else []
        known = {key for parent in parents for key in inspect.signature(parent.__init__).parameters}
        for key in one if known and 'kwargs' not in known else ():
            if key not in known | {'type', '_scope_'}:
                what = f'{name}.{key} is none of {kind.__name__}, the loop that {name} is.'
                why = f'it ends with it; what detections are made by is in model.{name}.'
                fix = f'model.{name}.{key}, or leave it out'
                yield Finding('error', f'{name}.{key}', what, why, 'MMEngine, Runner.build_test_loop', fix)


def _of_model(facts: Facts) -> Iterator[Finding]:
    kinds = _classes(facts, facts.model, set())
    found = [(path, key) for place, cfg in _cfgs(facts.model, 'model') for path, key in _keys(cfg, place)]
    if not found or not kinds:
        return
    left = unknown(kinds, {key for _, key in found} - _LEFT_OVER)
    asked = words(kinds)[1] if left else set()
    packages = frozenset(kind.__module__.partition('.')[0] for kind in kinds)
    for path, key in found:
        if key not in left:
            continue
        # A function that a head calls may ask for it, as mask_target does for mask_size.
        if _near(key, asked) or not _somewhere(key, packages):
            yield _unknown(path, key, type_name(facts.model.get('type')), asked)


# --- data ------------------------------------------------------------------------------------------------------------


def _of_data(facts: Facts) -> Iterator[Finding]:
    said = set()  # of many parts of a kind the first
    for one in facts.used:
        if not any(map(_source_of, _modules([one.kind]))):
            continue
        left = unknown([one.kind], one.cfg.get('filter_cfg') or {})
        for key in one.cfg.get('filter_cfg') or {}:
            if key in left and (one.kind, key) not in said:
                said.add((one.kind, key))
                yield _unknown(f'{one.path}.filter_cfg', key, one.kind.__name__, words([one.kind])[1])
        for key in one.cfg.get('metainfo') or {}:
            wanted = [name for name in ('classes', 'palette') if key != name and key.lower() in (name, name[:-1])]
            if wanted and wanted[0] not in one.cfg['metainfo']:
                yield _unknown(f'{one.path}.metainfo', key, one.kind.__name__, wanted)


# --- optimiser -------------------------------------------------------------------------------------------------------


def _of_optimizer(facts: Facts) -> Iterator[Finding]:
    wrapper = facts.cfg.get('optim_wrapper') or {}
    paramwise, clip = wrapper.get('paramwise_cfg') or {}, wrapper.get('clip_grad') or {}
    kind = OPTIM_WRAPPER_CONSTRUCTORS.get(type_name(wrapper.get('constructor') or 'DefaultOptimWrapperConstructor'))
    if paramwise and kind is not None:
        every, asked = words([kind])
        for key in paramwise:
            if key not in every:
                yield _unknown('optim_wrapper.paramwise_cfg', key, kind.__name__, asked)
        if 'custom_keys' in every:
            for name, one in (paramwise.get('custom_keys') or {}).items():
                for key in one if isinstance(one, dict) else ():
                    if key not in every:
                        where = f'optim_wrapper.paramwise_cfg.custom_keys.{name}'
                        yield _unknown(where, key, kind.__name__, ('lr_mult', 'decay_mult'))
    function = getattr(torch.nn.utils, f'clip_grad_{"value" if clip.get("type") == "value" else "norm"}_')
    known = set(inspect.signature(function).parameters)
    for key in clip:
        # A step would end with it, the first one.
        if key != 'type' and key not in known:
            yield _unknown('optim_wrapper.clip_grad', key, f'torch.nn.utils.{function.__name__}', known)


@rule('custom-keys')
def custom_keys(facts: Facts) -> Iterator[Finding]:
    """Of ``paramwise_cfg``, those that are part of no parameter's name."""
    wrapper = facts.cfg.get('optim_wrapper') or {}
    keys = list((wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {})
    if not keys:
        return
    try:
        names = [name for name, _ in without_values(facts.cfg).named_parameters()]
    except Exception:  # said when it is built
        return
    for key in keys:
        if any(key in name for name in names):
            continue
        # Of the same number of parts.
        parts = key.strip('.').count('.') + 1
        known = {'.'.join(split[at : at + parts]) for split in (name.split('.') for name in names) for at in range(9)}
        near = next(iter(difflib.get_close_matches(key.strip('.'), known, 1, 0.8)), None)
        yield Finding(
            'error' if near else 'warning',
            'optim_wrapper.paramwise_cfg.custom_keys',
            f'{key!r} of custom_keys is part of the name of no parameter of the model'
            + (f', and {near!r} is.' if near else '.'),
            'no parameter gets its learning rate and weight decay.',
            'MMEngine, DefaultOptimWrapperConstructor: `if key in name`',
            f'rename it to {near!r}' if near else f'a part of a name such as {names[0]}, or leave it out',
        )


# --- hooks -----------------------------------------------------------------------------------------------------------

# Name → class.
_HOOKS = dict(
    re.findall(r"^ {12}(\w+)=dict\(type='(\w+)'", inspect.getsource(Runner.register_default_hooks), re.MULTILINE)
)


@rule('hook-name')
def hook_name(facts: Facts) -> Iterator[Finding]:
    for name in facts.cfg.get('default_hooks') or {}:
        near = _near(name, _HOOKS) if name not in (*_HOOKS, 'visualization') else None
        if near:
            yield Finding(
                'error',
                f'default_hooks.{name}',
                f'default_hooks.{name} is a hook beside {near}, which keeps its settings.',
                f'MMEngine knows {", ".join(_HOOKS)}, and registers any other name as one more hook.',
                'MMEngine, Runner.register_default_hooks',
                f'rename it to {near}, or put it into custom_hooks',
            )


_TWICE = {
    'ParamSchedulerHook': 'schedules make two steps at a time, and are over at half of the training.',
    'CheckpointHook': 'both save, each by its own settings.',
    'LoggerHook': 'all is logged twice, each time by other settings.',
}


@rule('hook-twice')
def hook_twice(facts: Facts) -> Iterator[Finding]:
    """Of the classes of MMEngine's default hooks two, of which one has a name that replaces nothing."""
    given = facts.cfg.get('default_hooks') or {}
    for name, kind in _HOOKS.items():
        own, base = f'default_hooks.{name}', HOOKS.get(kind)
        found = [
            where
            for where, one in facts.hooks
            if where != own
            and inspect.isclass(its := facts.class_of(HOOKS, one.get('type')))
            and issubclass(its, base)
        ]
        # What is near to a name is said as such.
        found = [where for where in found if where.startswith('custom') or not _near(where.partition('.')[2], _HOOKS)]
        if name not in given:
            first = f'the default_hooks.{name} that MMEngine has by itself'
        elif given[name] is not None:
            replaced = facts.class_of(HOOKS, given[name].get('type', kind))
            first = own if inspect.isclass(replaced) and issubclass(replaced, base) else None
        else:
            first = None
        if first is None:
            first, *found = found or [None]
        for where in found:
            yield Finding(
                'error' if kind == 'ParamSchedulerHook' else 'warning',
                where,
                f'{where} is a {kind} beside {first}, and both run.',
                _TWICE.get(kind, 'what it does is done twice.'),
                'MMEngine, Runner.register_default_hooks: a hook replaces that of its name alone',
                f'put its settings into {own} and leave it out, or set {own}=None',
            )
