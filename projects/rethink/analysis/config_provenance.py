"""Where each value of a config comes from: file and line in the chain of ``_base_``.

What a config resolves to is MMEngine's answer (``Config.fromfile``). Beside it the files of the chain are executed
once more, with their dicts and lists rewritten so that each remembers the lines it was written on; what Python then
does with them (``**``, slices, comprehensions, ``_base_.model.backbone``, ``_delete_=True``) carries the lines along.
A place is given only where this gives MMEngine's value.

* A value that a variable brings is placed where the variable is assigned, one of a comprehension at the entry in it.
* Overrides of ``--cfg-options`` are placed on the command line.
* Configs of the ``read_base`` kind are not executed again: a value is placed at the last statement of the chain that
  writes it by name, which a value that travels through variables can escape.
* JSON, YAML and the text within a checkpoint give the file alone.
"""

import ast
import functools
import linecache
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

from mmengine.config import Config

from .. import config_path
from ..launch import override, read_config
from ..preflight import ConfigError, read_content

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
    def variables(self) -> list[str]:
        """Environment variables that are set and that the line takes values from."""
        return [name for name in re.findall(r'\{\{[\'"]?\s*\$(\w+)\s*:', self.source) if name in os.environ]

    def describe(self, below: str | os.PathLike | None = None) -> str:
        """``file:line``, relative to a folder, and the environment variables that it reads."""
        if self.file == COMMAND_LINE:
            return 'command line'
        file = os.path.relpath(self.file, below) if below else self.file
        # What lies elsewhere, as an installed package, is named in full.
        file = self.file if file.startswith(os.path.join('..', '..', '..')) else file
        text = f'{file}:{self.line}' if self.line else file
        return text + ''.join(f', ${name}' for name in self.variables)


# --- containers that know their lines --------------------------------------------------------------------------------


class TracedDict(dict):
    """A dict that knows where it, and each of its values, was written; keys are attributes, as in MMEngine."""

    __slots__ = ('_based', '_here', '_origins')

    def __init__(self, *args, here: Origin | None = None, origins: dict | None = None) -> None:
        super().__init__(*args)
        object.__setattr__(self, '_here', here)
        object.__setattr__(self, '_origins', origins or {})
        object.__setattr__(self, '_based', False)

    def __getattr__(self, key):
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None

    def __setattr__(self, key, value) -> None:
        self[key] = value

    def __delattr__(self, key) -> None:
        del self[key]

    def copy(self) -> 'TracedDict':
        other = TracedDict(self, here=self._here, origins=dict(self._origins))
        object.__setattr__(other, '_based', self._based)
        return other

    __copy__ = copy

    def __deepcopy__(self, memo) -> 'TracedDict':
        return _own(self, self._based)

    def update(self, *others, **values) -> None:
        """As a dict; what comes from a base is merged, as MMEngine's ``ConfigDict`` does."""
        for other in (*others, values):
            other = other if isinstance(other, dict) else dict(other)
            origins = getattr(other, '_origins', {})
            for key, value in other.items():
                if self._based and isinstance(value, dict) and isinstance(self.get(key), TracedDict):
                    self[key].update(value)
                else:
                    self[key] = value
                    self._origins[key] = origins.get(key)


class TracedList(list):
    """A list that knows where it was written."""

    __slots__ = ('_here',)

    def __init__(self, items, here: Origin | None) -> None:
        super().__init__(items)
        self._here = here

    def __deepcopy__(self, memo) -> 'TracedList':
        return _own(self, False)


class TracedTuple(tuple):
    """A tuple that knows where it was written."""

    def __new__(cls, items, here: Origin | None) -> 'TracedTuple':
        self = super().__new__(cls, items)
        self._here = here
        return self

    def __deepcopy__(self, memo) -> 'TracedTuple':
        return _own(self, False)


def _own(value, based: bool):
    """A copy that shares no container: MMEngine hands on copies of what a file defines."""
    if isinstance(value, dict):
        other = TracedDict(here=getattr(value, '_here', None), origins=dict(getattr(value, '_origins', {})))
        object.__setattr__(other, '_based', based)
        for key, item in value.items():
            other[key] = _own(item, based)
        return other
    if type(value) in (TracedList, TracedTuple):
        return type(value)([_own(item, based) for item in value], value._here)
    if type(value) in (list, tuple):
        return type(value)([_own(item, based) for item in value])
    return value


def _merge(child: dict, base: TracedDict) -> TracedDict:
    """``base`` with the values of ``child``, as ``Config._merge_a_into_b``."""
    result = base.copy()
    origins = getattr(child, '_origins', {})
    for key, value in child.items():
        if isinstance(value, dict) and key in result:
            if value.get('_delete_'):
                value = value.copy()
                del value['_delete_']
            else:
                value = _merge(value, result[key])
        result[key] = value
        result._origins[key] = origins.get(key)
    return result


class _Tracer:
    """What the rewritten code of one file calls, under the name ``__trace__``."""

    def __init__(self, file: str, bases: TracedDict) -> None:
        self.file, self.bases = file, bases

    def _place(self, place) -> Origin:
        """Of a line, or of a value of a base (``_base_.x.y``) with the line where it is taken over."""
        if isinstance(place, int):
            return Origin(self.file, place)
        line, path = place
        return locate(self.bases, path) or Origin(self.file, line)

    def dict(self, line: int, *parts) -> TracedDict:
        result = TracedDict(here=Origin(self.file, line))
        for key, value, place in parts:
            if key is not None:
                result[key] = value
                result._origins[key] = self._place(place)
                continue
            value = value if isinstance(value, dict) else dict(value)
            known = getattr(value, '_origins', {})
            for inner in value:
                result[inner] = value[inner]
                result._origins[inner] = known.get(inner) or self._place(place)
        return result

    def list(self, line: int, items) -> TracedList:
        return TracedList(items, Origin(self.file, line))

    def tuple(self, line: int, items) -> TracedTuple:
        return TracedTuple(items, Origin(self.file, line))

    def note(self, container, key, line: int) -> None:
        """An item was assigned."""
        if isinstance(container, TracedDict):
            container._origins[key] = Origin(self.file, line)


def _call(name: str, node: ast.AST, *args: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name('__trace__', ast.Load()), name, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(ast.Call(function, list(args), []), node))


def _base_path(node: ast.expr) -> Path_ | None:
    """The keys of ``_base_.a.b[0]``; None for any other expression."""
    path = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            path.append(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            path.append(node.slice.value)
        else:
            return None
        node = node.value
    return tuple(reversed(path)) if node.id == '_base_' and path else None


class _Instrument(ast.NodeTransformer):
    """Rewrites a config so that its dicts, lists and tuples are traced ones."""

    def __init__(self) -> None:
        self.assigned: dict[str, object] = {}  # name -> its place

    def _place(self, value: ast.expr, line: int):
        """The place of a value as a line, or as a line and the path of a value of a base."""
        if isinstance(value, ast.Name) and value.id in self.assigned:
            return self.assigned[value.id]
        path = _base_path(value)
        return line if path is None else (line, path)

    def _part(self, key: ast.expr, value: ast.expr, line: int) -> ast.Tuple:
        place = ast.Constant(self._place(value, line))
        return ast.Tuple([key, self.visit(value), place], ast.Load())

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func
        if isinstance(name, ast.Name) and name.id == 'dict':
            parts = [self._part(ast.Constant(None), value, value.lineno) for value in node.args]
            parts += [self._part(ast.Constant(one.arg), one.value, one.lineno) for one in node.keywords]
            return _call('dict', node, ast.Constant(node.lineno), *parts)
        if isinstance(name, ast.Attribute) and name.attr == 'update' and not node.args:
            # The lines of its keywords are those of a dict.
            values = ast.copy_location(ast.Call(ast.Name('dict', ast.Load()), [], node.keywords), node)
            node = ast.copy_location(ast.Call(name, [values], []), node)
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        parts = [
            self._part(ast.Constant(None) if key is None else self.visit(key), value, (key or value).lineno)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
        return _call('dict', node, ast.Constant(node.lineno), *parts)

    def _comprehension(self, node: ast.expr) -> ast.expr:
        """Its variables hide those of the file."""
        before = dict(self.assigned)
        for generator in node.generators:
            for name in ast.walk(generator.target):
                if isinstance(name, ast.Name):
                    self.assigned.pop(name.id, None)
        node = self.generic_visit(node)
        self.assigned = before
        return node

    visit_SetComp = visit_GeneratorExp = _comprehension

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return _call('list', node, ast.Constant(node.lineno), self._comprehension(node))

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        part = ast.Tuple([ast.Constant(None), self._comprehension(node), ast.Constant(node.lineno)], ast.Load())
        return _call('dict', node, ast.Constant(node.lineno), part)

    def _sequence(self, node, name: str) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return self.generic_visit(node)
        return _call(name, node, ast.Constant(node.lineno), self.generic_visit(node))

    def visit_List(self, node: ast.List) -> ast.expr:
        return self._sequence(node, 'list')

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        return self._sequence(node, 'tuple')

    def _assignment(self, node, targets: list[ast.expr]):
        place = self._place(node.value, node.lineno)
        node.value = self.visit(node.value)
        notes = []
        for target in targets:
            if isinstance(target, ast.Name):
                self.assigned[target.id] = place
            elif isinstance(target, ast.Attribute | ast.Subscript):
                key = ast.Constant(target.attr) if isinstance(target, ast.Attribute) else target.slice
                note = _call('note', node, target.value, key, ast.Constant(node.lineno))
                if not isinstance(key, ast.Slice):
                    notes.append(ast.copy_location(ast.Expr(note), node))
            else:
                names = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
                self.assigned.update(dict.fromkeys(names, node.lineno))
        return [node, *notes]

    def visit_Assign(self, node: ast.Assign):
        if getattr(node.targets[0], 'id', '') == '_base_':
            return None
        return self._assignment(node, node.targets)

    def visit_AugAssign(self, node: ast.AugAssign):
        return self._assignment(node, [node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign):
        return node if node.value is None else self._assignment(node, [node.target])


# --- executing a chain of files --------------------------------------------------------------------------------------


def _substituted(file: str) -> str:
    """The text of a config with MMEngine's ``{{ … }}`` filled in, line by line as it was."""
    text = Path(file).read_text(encoding='utf-8')
    stem, suffix = os.path.splitext(os.path.basename(file))
    predefined = dict(
        fileDirname=os.path.dirname(file),
        fileBasename=stem + suffix,
        fileBasenameNoExtension=stem,
        fileExtname=suffix,
    )
    for key, value in predefined.items():
        text = re.sub(r'\{\{\s*' + key + r'\s*\}\}', lambda _, value=value: value.replace('\\', '/'), text)
    environment = r'\{\{[\'"]?\s*\$(\w+)\s*:\s*(\S*?)\s*[\'"]?\}\}'
    text = re.sub(environment, lambda found: os.environ.get(found[1], found[2]), text)
    return re.sub(r'\{\{\s*(_base_\.[\w.]+)\s*\}\}', r'\1', text)


class _Parsed(NamedTuple):
    bases: object  # code of the expression that names the bases, or None
    code: object
    assigned: dict[str, object]  # the place of each variable
    uses: dict[str, set[Path_]]  # where the value of a variable goes


@functools.lru_cache(maxsize=1024)
def _parse(file: str, text: str) -> _Parsed:
    """Bases of a config and its rewritten code. The text is part of the key, so that a changed file is read anew."""
    tree = ast.parse(text, file)
    bases = next((node.value for node in tree.body if _assigns_base(node)), None)
    if bases is not None:
        bases = compile(ast.Expression(bases), file, 'eval')
    uses = {}
    for name, path, _ in _written(tree):
        if name:
            uses.setdefault(name, set()).add(path)
    instrument = _Instrument()
    code = compile(ast.fix_missing_locations(instrument.visit(tree)), file, 'exec')
    return _Parsed(bases, code, instrument.assigned, uses)


def _assigns_base(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_'


class Trace:
    """The containers of a config, which know their lines, and what became of its variables.

    Attributes:
        tree: all variables of the config, as MMEngine merges them.
        uses: for each variable of a file of the chain the paths of the values that are made from it.
        files: the files of the chain, bases first.
    """

    def __init__(self, file: str) -> None:
        self.uses: dict[str, set[Path_]] = {}
        self.files: list[str] = []
        self.tree = self._execute(os.path.abspath(os.path.expanduser(file)))

    def _execute(self, file: str) -> TracedDict:
        parsed = _parse(file, _substituted(file))
        named = eval(parsed.bases) if parsed.bases else []
        bases = TracedDict()
        for base in named if isinstance(named, list | tuple) else [named]:
            one = self._execute(os.path.abspath(Config._get_cfg_path(base, file)[0]))
            dict.update(bases, one)
            bases._origins.update(one._origins)
        bases = _own(bases, based=True)
        if file not in self.files:
            self.files.append(file)
        for name, paths in parsed.uses.items():
            self.uses.setdefault(name, set()).update(paths)

        tracer = _Tracer(file, bases)
        variables = {'_base_': bases, '__trace__': tracer}
        exec(parsed.code, variables)
        own = TracedDict()
        for key, value in variables.items():
            if not key.startswith('__') and key != '_base_' and not isinstance(value, FunctionType | ModuleType):
                own[key] = value
                place = parsed.assigned.get(key)
                own._origins[key] = tracer._place(place) if place else None
        return _own(_merge(own, bases), based=False)


def locate(tree, path: Path_) -> Origin | None:
    """The place of the value at ``path`` in traced containers; None where there is no such value."""
    place = None
    for key in path:
        place = getattr(tree, '_here', None) or place
        try:
            value = tree[key]
        except (KeyError, IndexError, TypeError):
            return None
        if isinstance(tree, TracedDict):
            place = tree._origins.get(key) or place
        else:
            place = getattr(value, '_here', None) or place
        tree = value
    return getattr(tree, '_here', None) or place if isinstance(tree, TracedList | TracedTuple) else place


def _written(tree: ast.Module) -> Iterator[tuple[str | None, Path_, int]]:
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
    elif base := isinstance(node, ast.expr) and _base_path(node):
        yield base[0], path, line
        return
    else:  # a comprehension, a sum: what is written within has no index
        parts = (ast.expr, ast.keyword, ast.comprehension)
        inner = [(None, one, line) for one in ast.iter_child_nodes(node) if isinstance(one, parts)]
    yield None, path, line
    for key, value, place in inner:
        yield from _values(value, path if key is None else (*path, key), place)


# --- configs of the read_base kind -----------------------------------------------------------------------------------


def _lazy_places(file: str) -> dict[Path_, Origin]:
    """Where the statements of a chain of ``read_base`` write each path that they name; the last one counts."""
    places = {}
    for node in ast.parse(Path(file).read_text(encoding='utf-8'), file).body:
        if isinstance(node, ast.With):
            for module in node.body:
                imported = _lazy_places(_module_file(module, file))
                renamed = {one.name: one.asname or one.name for one in module.names}
                for path, place in imported.items():
                    name = path[0] if '*' in renamed else renamed.get(path[0])
                    if name:
                        places[(name, *path[1:])] = place
            continue
        if isinstance(node, ast.Assign):
            for target in filter(None, map(_target, node.targets)):
                places = {path: place for path, place in places.items() if path[: len(target)] != target}
        for _, path, line in _written(ast.Module([node], [])):
            places[path] = Origin(file, line)
    return places


def _module_file(node: ast.ImportFrom, file: str) -> str:
    if not node.level:
        package, _, rest = node.module.partition('.')
        return str(Path(__import__(package).__file__).parent / f'{rest.replace(".", "/")}.py')
    folder = Path(file).parents[node.level - 1]
    return str(folder / f'{node.module.replace(".", "/")}.py')


# --- from a name to a config -----------------------------------------------------------------------------------------


class ResolvedConfig:
    """A config with all its values, and where each comes from.

    Attributes:
        name: what the user called it.
        file: the file that was read, or the checkpoint that has the config within.
        values: plain dicts, lists, tuples and values, as MMEngine resolves them.
        uses: for each variable of the files the paths that are made from it.
        config: MMEngine's object.
    """

    def __init__(self, name: str, file: str, config: Config, options: dict | None = None) -> None:
        self.name, self.file, self.config = name, file, config
        override(config, options, name)
        self.values = config.to_dict()
        self._overridden = [tuple(key.split('.')) for key in options or {}]

    @functools.cached_property
    def _trace(self) -> Trace | None:
        if not self.file.endswith('.py') or Config._is_lazy_import(self.file):
            return None
        try:
            return Trace(self.file)
        # A config may do what the rewritten code does not follow; it has been read, and only its lines are unknown.
        except Exception:
            return None

    @functools.cached_property
    def _lazy(self) -> dict[Path_, Origin]:
        lazy = self.file.endswith('.py') and Config._is_lazy_import(self.file)
        return _lazy_places(os.path.abspath(self.file)) if lazy else {}

    @property
    def uses(self) -> dict[str, set[Path_]]:
        return self._trace.uses if self._trace else {}

    def origin(self, path: Path_) -> Origin:
        """The place of a value (of a dict: where it is put).

        Args:
            path: keys and indices, from the root.
        """
        words = tuple(map(str, path))
        if any(words[: len(option)] == option for option in self._overridden):
            return Origin(COMMAND_LINE, 0)
        if self._trace:
            tree, value = self._trace.tree, self.values
            try:
                place = locate(tree, path)
                for key in path:
                    tree, value = tree[key], value[key]
            except (KeyError, IndexError, TypeError):
                place = None
            if place and tree == value:
                return place
        for length in range(len(path), 0, -1):
            if path[:length] in self._lazy:
                return self._lazy[path[:length]]
        return Origin(os.path.abspath(self.file), 0)


def read(name: str, options: dict | None = None) -> ResolvedConfig:
    """Read a config by any of its names.

    Args:
        name: a config file; ``package::path`` of an installed package; a work directory, for the newest config that
            was dumped there; or a checkpoint, for the config that it was trained with.
        options: overrides, as of ``--cfg-options``.

    Raises:
        ConfigError: there is no such file, package, dump or config in the checkpoint, or it cannot be read.
    """
    if '::' in name:
        file = _of_package(name)
    elif os.path.isdir(name):
        file = _newest_dump(Path(name))
    elif Path(name).suffix in ('.pth', '.pt', '.tar', '.ckpt'):
        return ResolvedConfig(name, name, _of_checkpoint(name), options)
    else:
        file = name
    return ResolvedConfig(name, file, read_config(file, import_custom_modules=False), options)


def _of_package(name: str) -> str:
    """The file of ``package::path``, below the configs that the wheel of an OpenMMLab package carries."""
    package, _, path = name.partition('::')
    if package == 'rethink':
        try:
            return config_path(path)
        except FileNotFoundError as error:
            raise ConfigError(str(error)) from None
    # MMEngine has the same for packages on its own list, by way of pkg_resources, which setuptools has dropped.
    found = find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f'{name} names the package {package!r}, which is not installed.')
    folder = Path(found.submodule_search_locations[0]) / '.mim' / 'configs'
    return str(folder / (path if path.endswith('.py') else f'{path}.py'))


def _newest_dump(folder: Path) -> str:
    """The config that MMEngine wrote to a work directory when it was last started."""
    dumps = [*folder.glob('*.py'), *folder.glob('*/vis_data/config.py'), *folder.glob('vis_data/config.py')]
    if not dumps:
        raise ConfigError(
            f'{folder} has no dumped config (NAME.py, or TIME/vis_data/config.py); name a work directory in which a '
            'training was started, or a config.'
        )
    # The two of a start have the same content and age.
    return str(max(dumps, key=lambda path: (int(path.stat().st_mtime), path.parent == folder)))


def _of_checkpoint(path: str) -> Config:
    content = read_content(path, 'its config')
    text = (content.get('meta') or {}).get('cfg') if isinstance(content, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(
            f'the checkpoint {path} has no config within; name its work directory or the config it was trained with.'
        )
    try:
        return Config(literal_config(text))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f'the config within the checkpoint {path} is more than values ({error}).') from error


def literal_config(text: str) -> dict:
    """The variables of a dumped config, which has nothing but values in it: read, and not executed.

    Raises:
        ValueError: it has something else.
        SyntaxError: it is not Python.
    """
    values = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError(f'line {node.lineno} is no assignment')
        values[node.targets[0].id] = ast.literal_eval(_Literal().visit(node.value))
    return values


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
        return ast.copy_location(result, node)
