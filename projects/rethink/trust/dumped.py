"""Configs that MMEngine wrote, read as values and never executed.

A config in Python is a program: whoever names one runs it. What lies in a work directory or within a checkpoint is
nobody's choice, and what MMEngine writes there is nothing but values.
"""

import ast
import math
import os
from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError

# A float that has no literal, as ``repr`` writes it.
_NUMBERS = {'inf': math.inf, 'nan': math.nan}


class _Literal(ast.NodeTransformer):
    """``dict(a=1)`` as ``{'a': 1}``, of which ``ast.literal_eval`` knows what is a value and what is not."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        named = isinstance(node.func, ast.Name) and node.func.id == 'dict' and all(one.arg for one in node.keywords)
        # Names that are no identifiers are written dict({'a.b': 1}).
        literal = [one for one in node.args if isinstance(one, ast.Dict)]
        if not named or len(literal) != len(node.args):
            raise ValueError(f'line {node.lineno} calls something')
        result = ast.Dict([], [])
        for one in literal:
            result.keys += one.keys
            result.values += [self.visit(value) for value in one.values]
        result.keys += [ast.Constant(one.arg) for one in node.keywords]
        result.values += [self.visit(one.value) for one in node.keywords]
        return result

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.copy_location(ast.Constant(_NUMBERS[node.id]), node) if node.id in _NUMBERS else node


def literal_config(text: str) -> dict:
    """The variables of a dumped config, which has nothing but values in it: read, and not executed.

    Raises:
        ValueError: it has something else (with the line).
        SyntaxError: it is not Python.
    """
    values = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError(f'line {node.lineno} is no assignment')
        try:
            values[node.targets[0].id] = ast.literal_eval(_Literal().visit(node.value))
        except (TypeError, MemoryError, RecursionError) as error:  # a list as a key, or nested without end
            raise ValueError(f'line {node.lineno} is no value ({type(error).__name__})') from None
    return values


def read_dumped(path: str | os.PathLike) -> Config:
    """A config that MMEngine wrote to a work directory.

    Raises:
        ConfigError: the file cannot be read, or is more than values.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
        more = what_it_would_run(text)
        values = {} if more else literal_config(text)
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(f'the dumped config {path} cannot be read ({error}); it may be half-written.') from None
    if more:
        raise ConfigError(
            f'the dumped config {path} is more than values ({more}), and is not executed; name the config that the '
            'training was started with.'
        )
    return Config(values, filename=str(path))


def trained_with(work_dir: str | os.PathLike) -> Path | None:
    """The config that the training in a work directory was last started with, as MMEngine dumped it.

    A test writes log folders into the same directory, with a config of its own. They have no log of a training
    (``scalars.json``). Where no folder has one, it is the newest that no test has left its metrics in
    (``TIME/TIME.json``): a training that has logged nothing yet. None where there is no dump.
    """
    # Log folders are named in the order of the starts (SteadyRunner), whatever the clock said.
    dumps = sorted(Path(work_dir).glob('*/vis_data/config.py'), reverse=True)
    logged = [path for path in dumps if path.with_name('scalars.json').is_file()]
    begun = [path for path in dumps if not any(path.parents[1].glob('*.json'))]
    return next(iter(logged or begun or dumps), None)


# The expression that a path is to Python, such as ``configs/hpt/pretrain-x.py``: checkpoints have one as their config.
_INERT = (ast.Expr, ast.Name, ast.Attribute, ast.Constant, ast.BinOp, ast.Div, ast.Sub, ast.Load)


def _is_inert(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and all(isinstance(part, _INERT) for part in ast.walk(node))


def what_it_would_run(text: str) -> str | None:
    """What MMEngine would execute if it read this text as a config, for a sentence; None where that is nothing.

    MMEngine executes the text, the files that it names as bases, and, before, replaces ``{{…}}`` in it.
    """
    if '{{' in text:
        return 'a placeholder {{…}}'
    try:
        if all(_is_inert(node) for node in ast.parse(text).body):
            return None
        values = literal_config(text)
    except SyntaxError:  # cannot be executed either
        return None
    except ValueError as error:
        return str(error)
    return 'a base, _base_' if '_base_' in values else None
