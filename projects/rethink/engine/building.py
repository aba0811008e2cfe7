"""What of a config cannot be built, and why, in one sentence: which part, which argument or file, and what to do."""

import difflib
import inspect
import re
import traceback
from collections.abc import Iterator

from mmengine.config import Config

from ..checks.datasets import Dataset
from ..config_tree import items, type_name
from ..errors import describe

# mmengine 0.10 raises what a class has raised once more, with the name of the class before it.
_WRAPPED = re.compile(r'["\']?(?:class `|\'?`?\w+`? in )')
_NO_CLASS = re.compile(r'([\w.]+) is not in the (?:\w+::)?([\w ]+?) registry')
_UNKNOWN = re.compile(r"got an unexpected keyword argument '(\w+)'")
_MISSING = re.compile(r'missing \d+ required [\w-]+ arguments?: (.+)')


def reason(cfg: Config, error: BaseException) -> tuple[str, str]:
    """The part that cannot be built, such as ``'model.backbone (ResNet)'`` (empty where it is not known), and why."""
    root = error
    while _WRAPPED.match(str(root)) and root.__context__ is not None:
        root = root.__context__
    frames = [*_building(root), *_building(error)]
    if not frames:
        return '', describe(root)
    # The innermost of a chain of parts within parts comes last.
    inner = _building(root)[-1] if _building(root) else frames[-1]
    part, kind = inner.get('cfg') or {}, inner.get('obj_cls')
    name = type_name(part.get('type')) if isinstance(part, dict) else ''
    place = _place(cfg, part)
    return f'{place} ({name})' if place and name else name, _why(root, part, kind, inner.get('registry'))


def _building(error: BaseException) -> list[dict]:
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return [frame.f_locals for frame in frames if frame.f_code.co_name == 'build_from_cfg']


def _place(cfg: Config, part) -> str:
    """The dotted name of a part; that of the only one of its type where what is built has been changed since."""
    if not isinstance(part, dict):
        return ''
    alike = [(path, one) for path, one in _parts(cfg, '') if one.get('type') == part.get('type')]
    equal = [path for path, one in alike if one == part]
    found = equal or [path for path, _ in alike]
    return found[0] if equal or len(found) == 1 else ''


def _parts(tree, path: str) -> Iterator[tuple[str, dict]]:
    for key, inner in items(tree):
        place = f'{path}.{key}'.lstrip('.')
        if isinstance(inner, dict) and 'type' in inner:
            yield place, inner
        yield from _parts(inner, place)


def _why(error: BaseException, part: dict, kind, registry) -> str:
    text = str(error)
    if isinstance(error, KeyError) and (found := _NO_CLASS.search(text)):
        wanted = found[1].rsplit('.', 1)[-1]
        near = difflib.get_close_matches(wanted, _names(registry), 3, 0.6)
        way = f'the nearest names are {", ".join(near)}' if near else 'import the module that has it (custom_imports)'
        return f'no class {found[1]} is registered as a {found[2]}; {way}'
    if isinstance(error, TypeError) and (found := _UNKNOWN.search(text)) and found[1] in part:
        near = difflib.get_close_matches(found[1], _arguments(kind), 1, 0.6)
        inherited = '' if found[1] == '_delete_' else ', or write _delete_=True there if it comes from a base'
        return f'it takes no {found[1]!r}; ' + (f'the nearest is {near[0]!r}' if near else f'leave it out{inherited}')
    if isinstance(error, TypeError) and (found := _MISSING.search(text)):
        return f'it needs {found[1]}; set it'
    # Some classes raise one with a sentence.
    if isinstance(error, KeyError) and len(error.args) == 1 and re.fullmatch(r'[\w.-]+', str(error.args[0])):
        file = Dataset('', part, kind).annotations if inspect.isclass(kind) and 'ann_file' in part else None
        if file:
            return f'a record of {file} has no {error.args[0]!r}, which it reads; add it to each, or convert the file'
        return f'it looks for {error.args[0]!r}, which it is not given; set it (KeyError)'
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else describe(error)


def _names(registry) -> set[str]:
    """Of all that is registered in a registry, its parents and its children."""
    root = registry
    while getattr(root, 'parent', None) is not None:
        root = root.parent
    found, left = set(), [root]
    while left:
        one = left.pop()
        found |= set(getattr(one, 'module_dict', ()))
        left += getattr(one, 'children', {}).values()
    return found


def _arguments(kind) -> set[str]:
    parents = [one for one in inspect.getmro(kind) if '__init__' in vars(one)] if inspect.isclass(kind) else []
    return {name for one in parents if one is not object for name in inspect.signature(one.__init__).parameters}
