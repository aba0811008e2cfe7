"""Rules of names: what a config needs beyond this project's own packages is installed, and its data registered."""

import importlib.util
from collections.abc import Iterator

from ..config_tree import items, type_name
from .facts import Facts
from .findings import Finding, rule

# What needs a package that this project does not bring.
_PACKAGES = dict(
    TIMMBackbone='timm',
    ResNetRS='timm',
    LVISV05Dataset='lvis',
    LVISDataset='lvis',
    LVISV1Dataset='lvis',
    LVISMetric='lvis',
    FasterLVISMetric='lvis',
)
_PARTS = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'test_dataloader', 'test_evaluator')


@rule('packages', ends=True)
def packages(facts: Facts) -> Iterator[Finding]:
    said = set()
    for place, kind in (one for part in _PARTS for one in _types(facts.cfg.get(part), part)):
        package = _PACKAGES.get(kind)
        if package and package not in said and importlib.util.find_spec(package) is None:
            said.add(package)
            what = f'{place} is {kind}, which needs the package {package}, and that is not installed.'
            yield Finding('missing', place, what, fix=f'`pip install {package}`')


def _types(tree, path: str) -> Iterator[tuple[str, str]]:
    for key, value in items(tree):
        # `of` is the type in what wraps another module, such as FrozenBackbone.
        if key in ('type', 'of'):
            yield f'{path}.{key}', type_name(value)
        yield from _types(value, f'{path}.{key}')


@rule('registered', ends=True)
def registered(facts: Facts) -> Iterator[Finding]:
    for one in facts.used:
        if one.kind is None:
            what = f'{one.path}.type is {one.cfg.get("type")!r}, which is no registered data set.'
            fix = 'correct the name, or import its module (custom_imports)'
            yield Finding('error', f'{one.path}.type', what, fix=fix)
