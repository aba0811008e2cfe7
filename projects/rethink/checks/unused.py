"""Rules of what a config sets and nothing reads: a variable whose value did not get where it was meant to go.

MMEngine runs each file of a chain of ``_base_`` by itself. A file that says ``train_pipeline = …`` changes that
variable and not ``train_dataloader``, into which its base has copied the value that it had there.
"""

import ast
import difflib
import functools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ..config_keys import READ, is_read
from ..config_lines import Path_, assigns_base, module_file, written
from ..config_tree import items
from . import schema
from .facts import Facts
from .findings import Finding, rule

# What tools/hpt_evaluate.py takes from a config that has a protocol.
_OF_PROTOCOL = {'data_root', 'train_set', 'num_classes', 'multi_label', 'epochs', 'metric'}
# Settings of MMDetection 2 and MMCV, which 3 does not read, and where their values go now.
_OLD = {
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper.clip_grad',
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'runner': 'train_cfg',
    'total_epochs': 'train_cfg.max_epochs',
    'evaluation': 'train_cfg.val_interval and val_evaluator',
    'checkpoint_config': 'default_hooks.checkpoint',
    'log_config': 'default_hooks.logger and visualizer',
    'dist_params': 'env_cfg.dist_cfg',
    'opencv_num_threads': 'env_cfg.mp_cfg.opencv_num_threads',
    'mp_start_method': 'env_cfg.mp_cfg.mp_start_method',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'resume_from': 'load_from, with resume = True',
    'seed': 'randomness.seed',
    'deterministic': 'randomness.deterministic',
    'gpu_ids': '',
    'workflow': '',
    'fp16': "optim_wrapper.type = 'AmpOptimWrapper'",
}
# Settings below the top, which do nothing there.
_PLACES = schema.names() | {
    'milestones': 'param_scheduler[…].milestones',
    'custom_keys': 'optim_wrapper.paramwise_cfg.custom_keys',
    'save_best': 'default_hooks.checkpoint.save_best',
    'max_keep_ckpts': 'default_hooks.checkpoint.max_keep_ckpts',
}
# The names under which configs keep what they use below, which are near one that is read.
_HELPERS = {'test_pipeline', 'train_pipeline', 'val_pipeline', 'dataloader', 'evaluator'}
_SOURCE = 'docs/configs.md; MMEngine, Config: a variable of a base is copied where the base uses it'


# --- who uses which variable -----------------------------------------------------------------------------------------


class _Variable(NamedTuple):
    """A variable, as one file of a chain leaves it."""

    file: str
    name: str


class _Statement(NamedTuple):
    sets: set[str]
    changes: set[str]  # in part, as a['b'] = … and a.update(…) do
    uses: set[str]
    of_base: set[str]  # what it uses, or changes, of _base_
    line: int


# In the place of what uses a value and is no assignment.
_OTHER = _Variable('', '')


def _root(node: ast.AST) -> tuple[str | None, bool]:
    """The variable in which ``a.b['c']`` is, and whether it is one of ``_base_``."""
    path = []
    while isinstance(node, ast.Attribute | ast.Subscript):
        key = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, 'value', None)
        path.append(key if isinstance(key, str) else None)
        node = node.value
    if not isinstance(node, ast.Name):
        return None, False
    return (path[-1] if path else None, True) if node.id == '_base_' else (node.id, False)


def _single(target: ast.expr) -> list[ast.expr]:
    """The targets in one such as ``a, (b, *c)``."""
    inner = [target.value] if isinstance(target, ast.Starred) else getattr(target, 'elts', None)
    return [target] if inner is None else [one for part in inner for one in _single(part)]


def _statement(node: ast.stmt) -> _Statement:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Expr) and isinstance(getattr(node.value, 'func', None), ast.Attribute):
        targets = [node.value.func.value]  # model.update(…)
    flat = [one for target in targets for one in _single(target)]
    sets = {one.id for one in flat if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    changed = {_root(one) for one in flat if not (isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))}
    inside = set()
    for target in flat:
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        inside.add(id(target))
    uses, of_base = set(), {name for name, based in changed if based and name}
    for one in ast.walk(node):
        if (
            isinstance(one, ast.Name)
            and isinstance(one.ctx, ast.Load)
            and one.id != '_base_'
            and id(one) not in inside
        ):
            uses.add(one.id)
        elif isinstance(one, ast.Attribute | ast.Subscript) and getattr(one.value, 'id', '') == '_base_':
            of_base.add(_root(one)[0] or '*')
    if isinstance(node, ast.AugAssign):
        uses |= sets
    changes = {name for name, _ in changed if name}
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr):
        stored = (one for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
        return _Statement({one.id for one in stored}, {'*'}, uses, of_base, node.lineno)
    return _Statement(sets, changes, uses, of_base, node.lineno)


class _File(NamedTuple):
    bases: list[str]
    statements: list[_Statement]
    places: dict[str, set[Path_]]  # of what is made from a variable
    lazy: bool  # of the read_base kind

    def last(self, name: str) -> int | None:
        """The statement that last sets a variable, or changes it, where none sets it."""
        setting = [at for at, one in enumerate(self.statements) if name in one.sets]
        changing = [at for at, one in enumerate(self.statements) if name in one.changes]
        return setting[-1] if setting else changing[0] if changing else None


_TEMPLATE = re.compile(r'\{\{\s*(_base_\.[\w.]+)\s*\}\}')
_UNQUOTED = re.compile(r'(?<![\'"\w/.-])\{\{[^{}]*\}\}')


@functools.lru_cache(maxsize=1024)
def _read_file(file: str, changed: float) -> _File:
    """Bases and statements of a config file; what is not Python has none."""
    text = _UNQUOTED.sub('None', _TEMPLATE.sub(r'\1', Path(file).read_text(encoding='utf-8')))
    tree = ast.parse(text, file)
    places = defaultdict(set)
    for name, path, _ in written(tree):
        if name:
            places[name].add(path)
    bases, statements, lazy = [], [], False
    for node in tree.body:
        if assigns_base(node):
            named = eval(compile(ast.Expression(node.value), file, 'eval'))
            for one in named if isinstance(named, list | tuple) else [named]:
                bases.append(os.path.abspath(Config._get_cfg_path(one, file)[0]))
        elif isinstance(node, ast.With):
            lazy = True
            bases += [os.path.abspath(module_file(one, file)) for one in node.body if isinstance(one, ast.ImportFrom)]
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            statements.append(_statement(node))
    return _File(bases, statements, places, lazy)


class Chain:
    """The files of a config, and which of its variables are used for which others.

    Args:
        file: the config; a chain that is not of Python, or that is not there any more, has no files.
    """

    def __init__(self, file: str | None) -> None:
        self.files: dict[str, _File] = {}
        self.top = os.path.abspath(file) if file else ''
        if self.top.endswith('.py'):
            try:
                self._add(self.top)
            except (OSError, SyntaxError, ValueError, ImportError):
                self.files = {}
        self._used_for = self._uses()

    @property
    def changed(self) -> tuple:
        return tuple(os.path.getmtime(file) for file in self.files)

    def _add(self, file: str) -> None:
        if file in self.files:
            return
        self.files[file] = parsed = _read_file(file, os.path.getmtime(file))
        for base in parsed.bases:
            self._add(base)

    @property
    def has_variables(self) -> bool:
        """Whether some statement uses a variable; a config that MMEngine has dumped has values alone."""
        return any(
            len(self.files) > 1 or one.uses - {'dict'} for file in self.files.values() for one in file.statements
        )

    def find(self, name: str, file: str | None = None) -> _Variable | None:
        """As the file, the config itself without one, has it: its own, or that of the nearest base."""
        file = file or self.top
        if file not in self.files:
            return None
        if self.files[file].last(name) is not None:
            return _Variable(file, name)
        return self.before(_Variable(file, name))

    def before(self, variable: _Variable) -> _Variable | None:
        """What a file finds in its bases."""
        found = (self.find(variable.name, base) for base in self.files[variable.file].bases)
        return next((one for one in found if one), None)

    def place(self, variable: _Variable) -> str:
        file = self.files[variable.file]
        path = os.path.relpath(variable.file)
        return f'{variable.file if path.startswith("..") else path}:{file.statements[file.last(variable.name)].line}'

    def places(self, name: str, seen: frozenset = frozenset()) -> set[Path_]:
        """The paths of what is read and made from a variable, by any file of the chain."""
        found = set()
        for path in {path for file in self.files.values() for path in file.places.get(name, ())}:
            if is_read(path[0]):
                found.add(path)
            elif path[0] not in seen | {name}:
                found |= {(*outer, *path[1:]) for outer in self.places(path[0], seen | {name})}
        return found

    def _uses(self) -> dict[_Variable, set[_Variable]]:
        edges = defaultdict(set)
        for name, file in self.files.items():
            for at, one in enumerate(file.statements):
                made = {_Variable(name, key) for key in one.sets | one.changes if key != '*'}
                if '*' in one.changes or not made:
                    made = made | {_OTHER}
                for key in one.uses:
                    last = file.last(key)
                    if last is not None and last < at:
                        edges[_Variable(name, key)] |= made
                    elif file.lazy and last is None and (base := self.before(_Variable(name, key))):
                        edges[base] |= made
                for key in one.of_base:
                    if key == '*':
                        edges[_Variable(name, '*')] |= made
                    elif base := self.before(_Variable(name, key)):
                        edges[base] |= made - {_Variable(name, key)}
                    if file.last(key) is not None and file.last(key) < at:
                        edges[_Variable(name, key)] |= made
        return edges

    def is_used(self, variable: _Variable) -> bool:
        """Whether something that is read is made from it, as far as the text says."""
        seen, left = set(), [variable]
        while left:
            one = left.pop()
            if one == _OTHER or (one != variable and is_read(one.name)):
                return True
            if one not in seen:
                seen.add(one)
                left += self._used_for[one]
        return any(used.name == '*' for used in self._used_for)


# --- where a value stands --------------------------------------------------------------------------------------------


def _plain(value):
    """Lists for tuples, so that a value is found in either."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key != '_scope_'}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


@functools.lru_cache(maxsize=64)
def _values(file: str, changed: tuple) -> dict:
    """What a file of a chain resolves to; ``changed`` is when the files of the chain were."""
    return _plain(Config.fromfile(file, import_custom_modules=False).to_dict())


def _stands(tree, value) -> bool:
    """Whether a nested config has a value somewhere, or a text that it is a part of."""
    return any(
        inner == value or isinstance(value, str) and isinstance(inner, str) and value in inner or _stands(inner, value)
        for _, inner in items(tree)
    )


def _stands_as(tree, name: str, value) -> bool:
    """Whether a nested config has a value somewhere under that name."""
    return any(key == name and inner == value or _stands_as(inner, name, value) for key, inner in items(tree))


def _at(tree, path: Path_):
    for key in path:
        try:
            tree = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
    return _plain(tree)


def _assignment(path: Path_, name: str) -> str:
    """``a = dict(b=name)`` for the path of b in a; within a list, its dotted name."""
    if not all(isinstance(key, str) and key.isidentifier() for key in path):
        return f'{".".join(map(str, path))} = {name}'
    return f'{path[0]} = ' + ''.join(f'dict({key}=' for key in path[1:]) + name + ')' * (len(path) - 1)


# --- the rules -------------------------------------------------------------------------------------------------------


@rule('unused-variable')
def unused_variable(facts: Facts) -> Iterator[Finding]:
    """A variable that has another value than the base had, where the base has used it and nothing else does."""
    chain = Chain(facts.cfg.filename)
    now = facts.cfg.to_dict()
    read = _plain({key: value for key, value in now.items() if is_read(key)})
    left = _OF_PROTOCOL if 'protocol' in now else ()
    variables = {key: _plain(now[key]) for key in now if not (is_read(key) or key in left or key.startswith('_'))}
    written = _values(chain.top, chain.changed) if chain.files and variables else {}
    for name, value in variables.items():
        found = chain.find(name)
        if found and name in written and written[name] != value:
            yield from _redefined(chain, name, value, written, now, 'the command line', found)
        elif found is None or not chain.is_used(found):
            before = found and chain.before(found)
            if before and chain.is_used(before):
                base = _values(before.file, chain.changed)
                yield from _redefined(chain, name, value, base, now, chain.place(found), before)
            else:
                where = chain.place(found) if found else 'the command line' if chain.files else 'the config'
                if name in _PLACES and not _OLD.get(name) and chain.files and (chain.has_variables or not found):
                    helper = _stands_as(read, name, value)
                else:
                    helper = (_stands(read, value) if found else not chain.files) or not chain.has_variables
                yield from _read_by_nothing(name, where, helper)


def _redefined(chain: Chain, name: str, value, base, now: dict, where: str, before: _Variable) -> Iterator[Finding]:
    """Where the value that a variable had in ``base`` is what a run reads, and the new one is nowhere."""
    if base.get(name) == value or not chain.is_used(before):
        return
    places = sorted(chain.places(name), key=lambda path: (not str(path[0]).startswith(('train', 'model')), len(path)))
    if any(_at(now, path) == value for path in places):
        return
    still = [path for path in places if (left := _at(now, path)) is not None and left == _at(base, path)]
    if not still:
        return
    target = still[0]
    direct = _at(now, target) == base.get(name)
    yield Finding(
        'error',
        name,
        f'{name}, which {where} sets, is read by nothing: {".".join(map(str, target))} is made from that of '
        f'{chain.place(before)}.',
        'the training is that of the value before; a variable is copied where the file that has it uses it.',
        _SOURCE,
        f'set {_assignment(target, name)}' if direct else f'set {".".join(map(str, target))} as well',
    )


def _read_by_nothing(name: str, where: str, helper: bool) -> Iterator[Finding]:
    near = difflib.get_close_matches(name, READ, 1, 0.85) if name not in _HELPERS else []
    if near:
        what, fix, level = f'a name near to {near[0]}', f'rename it to {near[0]}, or leave it out', 'error'
    elif name in _OLD:
        what = 'a setting of MMDetection 2'
        fix, level = f'set {_OLD[name]}' if _OLD[name] else 'leave it out', 'warning'
    elif name in _PLACES and not helper:
        what, fix, level = f'no setting of its own, and {_PLACES[name]} is one', f'set {_PLACES[name]}', 'error'
    elif not helper:
        what, fix, level = 'no setting, and no file uses it', 'use it, or leave it out', 'note'
    else:
        return
    yield Finding(
        level,
        name,
        f'{name}, which {where} sets, is read by nothing: it is {what}.',
        'the training is the same without it.',
        _SOURCE,
        fix,
    )
