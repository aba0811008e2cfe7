"""Lines of config files: what each statement writes, read from the text and not executed."""

import ast
import linecache
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Path_ = tuple  # of keys and indices, from the root of a config
COMMAND_LINE = '--cfg-options'


class Origin(NamedTuple):
    """The place of a value. ``line`` counts from 1, and is 0 where only the file is known."""

    file: str
    line: int

    @property
    def source(self) -> str:
        """The text of the line."""
        return linecache.getline(self.file, self.line) if self.line else ''

    @property
    def of_package(self) -> str | None:
        """``package::path`` of a config of an installed package."""
        found = re.search(r'([^/\\]+)[/\\]\.mim[/\\]configs[/\\](.+)', self.file)
        return f'{found[1]}::{found[2]}' if found else None

    @property
    def variables(self) -> list[str]:
        """Environment variables that are set and that the line takes values from."""
        return [name for name in re.findall(r'\{\{[\'"]?\s*\$(\w+)\s*:', self.source) if name in os.environ]

    def describe(self, below: str | os.PathLike | None = None) -> str:
        """``file:line``, relative to a folder, and the environment variables that it reads.

        A config of an installed package is named ``package::path``.
        """
        if self.file == COMMAND_LINE:
            return 'command line'
        file = os.path.relpath(self.file, below) if below else self.file
        # What lies elsewhere is named in full.
        file = self.of_package or (self.file if file.startswith(os.path.join('..', '..', '..')) else file)
        text = f'{file}:{self.line}' if self.line else file
        return text + ''.join(f', ${name}' for name in self.variables)


# --- what a statement writes -----------------------------------------------------------------------------------------


def assigns_base(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_'


def _target(node: ast.expr) -> Path_ | None:
    """The path of ``a.b['c']``."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        inner, key = _target(node.value), node.attr
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        inner, key = _target(node.value), node.slice.value
    else:
        return None
    return inner and (*inner, key)


def base_path(node: ast.expr) -> Path_ | None:
    """The keys of ``_base_.a.b[0]``; None for any other expression."""
    path = _target(node)
    return path[1:] or None if path and path[0] == '_base_' else None


def written(tree: ast.Module) -> Iterator[tuple[str | None, Path_, int]]:
    """What the statements of a config write: a path, its line, and the variable that is read for it, if one is."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                path = _target(target)
                if path and path != ('_base_',):
                    yield from _values(node.value, path, node.lineno)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # model.update(dict(…))
            path = _target(node.value.func)
            if path and path[-1] in ('update', 'merge'):
                values = ast.Call(ast.Name('dict'), node.value.args, node.value.keywords)
                yield from _values(values, path[:-1], node.lineno)


def _values(node: ast.AST, path: Path_, line: int) -> Iterator[tuple[str | None, Path_, int]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        inner = [(None, one, one.lineno) for one in node.args]
        inner += [(one.arg, one.value, one.lineno) for one in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        inner = [(key.value if isinstance(key, ast.Constant) else None, one, one.lineno) for key, one in pairs]
    elif isinstance(node, ast.List | ast.Tuple):
        inner = [(index, one, one.lineno) for index, one in enumerate(node.elts)]
    elif isinstance(node, ast.Name):
        yield node.id, path, line
        return
    elif base := isinstance(node, ast.expr) and base_path(node):
        yield base[0], path, line
        return
    else:  # a comprehension, a sum: what is written within has no index
        parts = (ast.expr, ast.keyword, ast.comprehension)
        inner = [(None, one, line) for one in ast.iter_child_nodes(node) if isinstance(one, parts)]
    yield None, path, line
    for key, value, place in inner:
        yield from _values(value, path if key is None else (*path, key), place)


# --- configs of the read_base kind -----------------------------------------------------------------------------------


def read_base_places(file: str) -> dict[Path_, Origin]:
    """Where the statements of a chain of ``read_base`` write each path that they name; the last one counts."""
    places = {}
    for node in ast.parse(Path(file).read_text(encoding='utf-8'), file).body:
        if isinstance(node, ast.With):
            for module in node.body:
                imported = read_base_places(module_file(module, file))
                renamed = {one.name: one.asname or one.name for one in module.names}
                for path, place in imported.items():
                    name = path[0] if '*' in renamed else renamed.get(path[0])
                    if name:
                        places[(name, *path[1:])] = place
            continue
        if isinstance(node, ast.Assign):
            for target in filter(None, map(_target, node.targets)):
                places = {path: place for path, place in places.items() if path[: len(target)] != target}
        for _, path, line in written(ast.Module([node], [])):
            places[path] = Origin(file, line)
    return places


def module_file(node: ast.ImportFrom, file: str) -> str:
    if not node.level:
        package, _, rest = node.module.partition('.')
        return str(Path(__import__(package).__file__).parent / f'{rest.replace(".", "/")}.py')
    folder = Path(file).parents[node.level - 1]
    return str(folder / f'{node.module.replace(".", "/")}.py')
