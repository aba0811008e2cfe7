"""The rooms of the package: each imports what stands before it in the list, and no two modules import each other."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import rethink

ROOT = Path(rethink.__file__).parent
# What stands later may import what stands earlier.
ROOMS = (
    'version', 'on_import', 'registering', 'errors', 'stopping', 'files', 'config_tree', 'config_keys', 'config_lines',
    'reuse', 'trust', 'ops', 'datasets', 'models', 'evaluation', 'checks', 'engine', 'configs', 'arguments',
    'analysis', 'costs', 'studies', 'registrations', 'run', 'commands', 'notebook',
    '__main__',
)  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """Dotted name below the package -> file."""
    found = {}
    for path in root.rglob('*.py'):
        parts = path.relative_to(root).with_suffix('').parts
        name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
        if name:
            found[name] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> what it imports of the package; an import inside a function counts as well. '' is the package."""
    known = modules(root)
    found = {}
    for name, path in known.items():
        package = name.split('.') if path.name == '__init__.py' else name.split('.')[:-1]
        found[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                targets = [alias.name.split('.') for alias in node.names if alias.name.split('.')[0] == 'rethink']
                found[name] |= {'.'.join(target[1:]) for target in targets}
            if not isinstance(node, ast.ImportFrom):
                continue
            if not node.level and (node.module or '').split('.')[0] != 'rethink':
                continue
            start = package[: len(package) - node.level + 1] if node.level else []
            base = start + (node.module.split('.')[not node.level :] if node.module else [])
            for alias in node.names:
                whole = '.'.join([*base, alias.name])
                found[name].add(whole if whole in known else '.'.join(base))
    return found


def upward(root: Path) -> list[str]:
    found = []
    for name, targets in imports(root).items():
        for target in sorted(targets):
            if not target or ROOMS.index(target.split('.')[0]) > ROOMS.index(name.split('.')[0]):
                found.append(f'{name} imports {target or "the package itself"}')
    return found


def circle(root: Path) -> list[str]:
    """The modules of a circle, if there is one. A package that gathers its own modules makes none with them."""
    graph = {
        name: {target for target in targets if target != name and not name.startswith(f'{target}.')}
        for name, targets in imports(root).items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_room_is_in_the_list():
    assert {name.split('.')[0] for name in modules(ROOT)} == set(ROOMS)


def test_imports_go_down():
    assert upward(ROOT) == []


def test_no_two_modules_need_each_other():
    assert circle(ROOT) == []


@pytest.mark.parametrize(
    'line',
    [
        'from rethink.studies import grid',
        'from ..studies.grid import Grid',
        'import rethink.studies.grid',
        'def late():\n    from ..studies import grid',
        'from .. import config_path',
    ],
)
def test_an_import_that_goes_up_is_found(line, tmp_path):
    for name in ('engine/__init__', 'engine/launch', 'studies/__init__', 'studies/grid'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f'{name}.py').write_text('')
    (tmp_path / 'engine' / 'launch.py').write_text(line)
    assert len(upward(tmp_path)) == 1


def test_a_circle_is_found(tmp_path):
    (tmp_path / 'engine').mkdir()
    (tmp_path / 'engine' / '__init__.py').write_text('from . import a')
    (tmp_path / 'engine' / 'a.py').write_text('from .b import x')
    (tmp_path / 'engine' / 'b.py').write_text('x = 1')
    assert circle(tmp_path) == []
    (tmp_path / 'engine' / 'b.py').write_text('from . import a')
    assert {'engine.a', 'engine.b'} <= set(circle(tmp_path))
