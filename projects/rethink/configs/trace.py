"""The dicts and lists of a config, which know the lines they were written on.

The files of a chain of ``_base_`` are executed with their dicts and lists rewritten so that each remembers its lines;
what Python then does with them (``**``, slices, comprehensions, ``_base_.model.backbone``, ``_delete_=True``) carries
the lines along.
"""

import ast
import functools
import os
import re
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NamedTuple

from mmengine.config import Config

from ..config_lines import Origin, Path_, assigns_base, base_path, written

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


# --- rewriting a file ------------------------------------------------------------------------------------------------


def _call(name: str, node: ast.AST, *args: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name('__trace__', ast.Load()), name, ast.Load())
    return ast.copy_location(ast.Call(function, list(args), []), node)


class _Instrument(ast.NodeTransformer):
    """Rewrites a config so that its dicts, lists and tuples are traced ones."""

    def __init__(self) -> None:
        self.assigned: dict[str, object] = {}  # name -> its place

    def _place(self, value: ast.expr, line: int):
        """The place of a value as a line, or as a line and the path of a value of a base."""
        if isinstance(value, ast.Name) and value.id in self.assigned:
            return self.assigned[value.id]
        path = base_path(value)
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
        if assigns_base(node):
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
def parse(file: str, text: str) -> _Parsed:
    """Bases of a config and its rewritten code. The text is part of the key, so that a changed file is read anew."""
    tree = ast.parse(text, file)
    bases = next((node.value for node in tree.body if assigns_base(node)), None)
    if bases is not None:
        bases = compile(ast.Expression(bases), file, 'eval')
    uses = {}
    for name, path, _ in written(tree):
        if name:
            uses.setdefault(name, set()).add(path)
    instrument = _Instrument()
    code = compile(ast.fix_missing_locations(instrument.visit(tree)), file, 'exec')
    return _Parsed(bases, code, instrument.assigned, uses)


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
        parsed = parse(file, _substituted(file))
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
