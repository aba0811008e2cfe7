"""Rules of files: annotation lists, image folders and the checkpoint that a config names are there, and are files."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..config_tree import is_remote, type_name
from ..reuse import tool
from ..trust.images import odd_images
from ..trust.soundness import other_than_file
from .datasets import Dataset
from .facts import Facts
from .findings import Finding, rule

# MMPretrain's data sets that read classes from the names of folders.
_FOLDERS = {'CustomDataset', 'ImageNet', 'ImageNet21k'}


@rule('files', ends=True)
def files(facts: Facts) -> Iterator[Finding]:
    """Of each data set the first that is wrong, and each path once."""
    said = set()
    for place, what, path in _named(facts):
        if not path or is_remote(path) or place in said or path in said:
            continue
        found = _look(place, what, path)
        if found:
            said |= {place, path}
            yield found


def _named(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Whose it is, what it is, and its path."""
    for one in facts.used:
        for what, path in _of(one) if one.local else ():
            yield one.path, what, path
    for place, evaluator in facts.evaluators:
        yield place, 'annotation file', evaluator.get('ann_file')
    yield 'load_from', 'checkpoint', facts.cfg.get('load_from')


def _of(one: Dataset) -> Iterator[tuple[str, str]]:
    if one.annotations:
        yield 'annotation file', one.annotations
    if isinstance(one.cfg.get('classes'), str):
        yield 'file of classes', one.cfg['classes']
    folders = [one.join(folder) for folder in one.prefixes]
    folders += [one.join(one.cfg['sub_data_root'])] if one.cfg.get('sub_data_root') else []
    root = one.cfg.get('data_root')
    if not folders and root and (one.annotations or type_name(one.cfg.get('type')) in _FOLDERS):
        folders.append(root)
    for folder in folders:
        yield 'folder', folder


def _look(place: str, what: str, path: str) -> Finding | None:
    of, fix = ('', 'name one that is there') if what == 'checkpoint' else (f' of {place}', how_to_get(path))
    whole = path if what == 'checkpoint' else os.path.expanduser(path)
    if not os.path.exists(whole):
        fix = f'there is {near}: paths are below data_root' if (near := _near(path)) else fix
        return Finding('missing', place, f'the {what} {path}{of} does not exist.', fix=fix)
    if os.path.isdir(whole) and what in ('folder', 'checkpoint'):  # of several files, as DeepSpeed writes
        path = whole = next(odd_images(whole), None) if what == 'folder' else None
        what, fix = 'image', 'replace it, or take it away'
    elif os.path.isdir(whole):
        fix = 'name a file in it'
    other = other_than_file(whole) if whole else None
    return other and Finding('error', place, f'the {what} {path}{of} {other}.', fix=fix)


def _near(path: str) -> str | None:
    """The same path without some of its first folders, as where ``ann_file`` begins with ``data_root``."""
    parts = Path(path).parts
    tails = (os.path.join(*parts[at:]) for at in range(1, len(parts) - 1))
    return next((tail for tail in tails if os.path.exists(tail)), None)


def how_to_get(path) -> str:
    if 'shapes' in str(path) and 'splits' not in Path(path).parts:
        part = next((part for part in ('figures', 'voc') if part in str(path)), None)
        more = f' data/shapes --{part}' if part else ' data/shapes'
        return f'make the data with `{tool("dataset_converters/make_shapes.py")}{more}`'
    if 'splits' in Path(path).parts:
        return f'write it with `{tool("dataset_converters/make_splits.py")} CONFIG` (docs/datasets.md)'
    return 'docs/data.md says where each data set comes from and goes'
