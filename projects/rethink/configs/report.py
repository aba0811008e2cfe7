"""Configs and their differences for people and programs: a table, Markdown, HTML, JSON, and a listing of places."""

import html
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..config_lines import Path_
from .diff import ABSENT, GROUPS, NAMES, Change, Difference, changes, dotted, find, type_name
from .provenance import ResolvedConfig

# Lines of a screen.
SCREEN = 50


def show(value, width: int = 100) -> str:
    """A value in one line of at most ``width`` characters, dicts with a type as calls of it."""
    return _cut(_text(value), width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f'{text[: width - 1]}…'


def _text(value) -> str:
    if isinstance(value, dict):
        items = {key: one for key, one in value.items() if key not in ('type', '_scope_')}
        inner = ', '.join(f'{key}={_text(one)}' for key, one in items.items())
        return f'{type_name(value["type"]) if "type" in value else ""}({inner})'
    if isinstance(value, list | tuple):
        inner = ', '.join(map(_text, value))
        return f'[{inner}]' if isinstance(value, list) else f'({inner}{"," * (len(value) == 1)})'
    return repr(value)


def contrast(values: Sequence, width: int = 100) -> list[str]:
    """Values in a line each; of long lists of which most is equal, what is not."""
    lists = [value for value in values if isinstance(value, list | tuple)]
    if len(lists) == len(values) and any(len(_text(value)) > width for value in values):
        shortest = min(map(len, lists))
        equal = [all(one[at] == lists[0][at] for one in lists) for at in range(-shortest, shortest)]
        tail = (equal[:shortest][::-1] + [False]).index(False)
        head = min((equal[shortest:] + [False]).index(False), shortest - tail)
        if head + tail:
            cut = [one[head : len(one) - tail] for one in lists]
            return [show([*['…'] * bool(head), *one, *['…'] * bool(tail)], width).replace("'…'", '…') for one in cut]
    return [show(value, width) for value in values]


# --- lines of a table ------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line of a table: a change, or several of one part of the config."""

    group: str
    name: str
    also: tuple[str, ...]
    values: tuple[str, ...]
    places: tuple[str, ...]


class Rows(NamedTuple):
    """Lines of a table, and the folder below which their files are named; None where they name none."""

    rows: list[Row]
    below: str | None

    @property
    def groups(self) -> Iterator[tuple[str, list[Row]]]:
        for group in GROUPS:
            inside = [row for row in self.rows if row.group == group]
            if inside:
                yield group, inside


def _counted(found: Sequence[Change]) -> list[Change]:
    return [one for one in found if one.group != NAMES and not one.is_variable]


def each(found: Sequence[Change], configs: Sequence[ResolvedConfig], width: int = 100) -> Rows:
    """A line for each change, with the file and line of its values, each in ``width`` characters."""
    found = _counted(found)
    origins = [
        [
            None if path is None else config.origin(path)
            for config, path in zip(configs, one.places[0].paths, strict=True)
        ]
        for one in found
    ]
    below = _common_folder([place.file for line in origins for place in line if place and not place.of_package])
    listed = []
    for one, line in zip(found, origins, strict=True):
        first, *others = one.places
        places = tuple('' if place is None else place.describe(below) for place in line)
        also = tuple(other.name for other in others)
        listed.append(Row(one.group, first.name, also, tuple(contrast(first.values, width)), places))
    return Rows(listed, below)


def _common_folder(files: list[str]) -> str:
    folders = {os.path.dirname(file) for file in files if os.path.isabs(file)}
    return os.path.commonpath(folders) if folders else os.getcwd()


def folded(found: Sequence[Change], configs: Sequence[ResolvedConfig], limit: int) -> Rows:
    """At most ``limit`` lines: parts of the configs are one with what differs in them."""
    listed = []
    for (group, label), inside in _parts(_counted(found), limit):
        if len(inside) == 1:
            (one,) = inside
            places = sum(not place.is_variable for place in one.places)
            name = one.places[0].name + f' ({places} places)' * (places > 1)
            listed.append(Row(group, name, (), tuple(contrast(one.values)), ()))
        else:
            name = f'{dotted(label) or "all"} ({len(inside)} differences)'
            values = tuple(_sketch(label, inside, number) for number in range(len(configs)))
            listed.append(Row(group, name, (), values, ()))
    return Rows(listed, None)


_Part = tuple[str, tuple[str, ...]]  # group and path in words


def _parts(found: Sequence[Change], limit: int) -> Iterable[tuple[_Part, list[Change]]]:
    """Parts of the configs and the changes in each, not more than ``limit``.

    Folded is the smallest part that is enough, or else the widest: model.roi_head before all of the model.
    """
    parts = {(one.group, one.places[0].label): [one] for one in found}
    for shortest in (2, 1, 0):
        while len(parts) > limit:
            sizes = Counter(
                (group, label[:depth]) for group, label in parts for depth in range(shortest, len(label) + 1)
            )
            # Of parts with the same content the deepest.
            widest = max(sizes, key=lambda part: (sizes[part], len(part[1])), default=None)
            if widest is None or sizes[widest] == 1:
                break
            enough = [part for part, size in sizes.items() if size > len(parts) - limit]
            parts = _fold(parts, min(enough, key=lambda part: (sizes[part], -len(part[1])), default=widest))
    return parts.items()


def _fold(parts: dict[_Part, list[Change]], into: _Part) -> dict[_Part, list[Change]]:
    """``parts`` with all below one of them together, where the first was."""
    group, label = into
    result = {}
    for part, inside in parts.items():
        part = into if part[0] == group and part[1][: len(label)] == label else part
        result.setdefault(part, []).extend(inside)
    return result


def _sketch(label: tuple[str, ...], inside: Sequence[Change], number: int, width: int = 100) -> str:
    """What differs in a part, as far as a config has it: ``lr=0.02, weight_decay=0.0001``."""
    text = ''
    for one in inside:
        value, name = one.values[number], dotted(one.places[0].label[len(label) :])
        if value is not ABSENT and len(text) <= width:
            text += f', {name}={_text(value)}' if name else f', {_text(value)}'
    return _cut(text[2:], width) if text else repr(ABSENT)


# --- formats ---------------------------------------------------------------------------------------------------------


def letter(number: int) -> str:
    return chr(ord('A') + number)


def _ending(found: Sequence[Change], listed: Rows) -> list[str]:
    counted = _counted(found)
    names = [one.places[0].name for one in found if one.group == NAMES]
    groups = [group for group, _ in listed.groups]
    lines = [f'{len(counted)} difference{"s" * (len(counted) != 1)}' + (f': {", ".join(groups)}.' if groups else '.')]
    if names:
        lines.append(f'Not counted: {", ".join(names)}.')
    variables = list(dict.fromkeys(one.places[0].label[0] for one in found if one.is_variable))
    if variables:
        lines.append(f'Variables that no run reads, not counted: {", ".join(variables)}.')
    if listed.below is None:
        lines.append('--all lists each with its file and line, --only PATH those of a part.')
    elif any(place and '::' not in place for row in listed.rows for place in row.places):  # not all of packages
        folder = os.path.relpath(listed.below)
        # '.' and a full stop would read as the folder above.
        named = 'this folder' if folder == '.' else listed.below if folder.startswith('..') else folder
        lines.append(f'Files are below {named}.')
    return lines


def table(found: Sequence[Change], configs: Sequence[ResolvedConfig], lines: int | None = SCREEN) -> str:
    """For a terminal: a section for each group, below each value its file and line.

    Args:
        lines: where it has more, a part of the configs becomes one line, and files are left away; None for all.
    """
    counted = _counted(found)
    # A change has a line of values and one of files.
    if lines is None or 2 * len(counted) < lines:
        text = _table(found, configs, None)
        if lines is None or text.count('\n') <= lines:
            return text
    around = len(configs) + len({one.group for one in counted}) + 6
    return _table(found, configs, max(lines - around, 1))


def _table(found: Sequence[Change], configs: Sequence[ResolvedConfig], limit: int | None) -> str:
    """The table with a line for each change, or folded into at most ``limit`` lines."""
    console = Console(file=io.StringIO(), force_terminal=Console().is_terminal, width=_width(), highlight=False)
    for number, config in enumerate(configs):
        console.print(Text(f'{letter(number)}  {config.name}', style='bold'))
    room = console.width // (len(configs) + 1)
    listed = each(found, configs, 2 * room) if limit is None else folded(found, configs, limit)
    # Names get the room they need, values share the rest.
    longest = max((len(text) for row in listed.rows for text in (row.name, _also(row.also))), default=0)
    names = min(longest, max(room, int(0.3 * console.width)))
    for group, inside in listed.groups:
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style='bold cyan')
        layout = dict(overflow='fold') if limit is None else dict(overflow='ellipsis', no_wrap=True)
        grid.add_column(group, width=names, **layout)
        for number in range(len(configs)):
            grid.add_column(letter(number), ratio=1, **layout)
        for row in inside:
            name = row.name if limit is None else _middle(row.name, names)
            places = row.places or ('',) * len(configs)
            cells = [
                Text.assemble(value, (f'\n{place}' * bool(place), 'dim'))
                for value, place in zip(row.values, places, strict=True)
            ]
            grid.add_row(Text.assemble(name, (_also(row.also), 'dim')), *cells)
        if limit is None:
            console.print()
        console.print(grid)
    console.print()
    for line in _ending(found, listed):
        console.print(Text(line), overflow='ellipsis', no_wrap=True)
    # Columns are filled up with blanks.
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines()) + '\n'


def _width() -> int:
    return Console().width if Console().is_terminal or 'COLUMNS' in os.environ else 140


def _middle(text: str, width: int) -> str:
    """A path in at most ``width`` characters, whose last part says more than its middle."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return f'{text[:head]}…{text[len(text) - (width - 1 - head) :]}'


def _also(names: Sequence[str]) -> str:
    more = f' and {len(names) - 1} more' if len(names) > 1 else ''
    return f'\nalso {names[0]}{more}' if names else ''


def markdown(found: Sequence[Change], configs: Sequence[ResolvedConfig]) -> str:
    """A table for each group."""
    listed = each(found, configs)
    heads = [f'- {letter(number)}: `{config.name}`' for number, config in enumerate(configs)]
    return '\n'.join([*heads, markdown_tables(listed, len(configs)), '', *_ending(found, listed), ''])


def markdown_tables(listed: Rows, configs: int) -> str:
    """A table for each group, of so many configs."""

    def cell(text: str) -> str:
        return text.replace('|', '\\|')

    lines = []
    for group, inside in listed.groups:
        heads = [group, *map(letter, range(configs))]
        lines += ['', f'| {" | ".join(heads)} |', f'|{" --- |" * len(heads)}']
        for row in inside:
            first = f'`{row.name}`' + ''.join(f'<br>also `{name}`' for name in row.also)
            values = [
                f'`{value}`' + f'<br>{html.escape(place, quote=False)}' * bool(place)
                for value, place in zip(row.values, row.places, strict=True)
            ]
            lines.append('| ' + ' | '.join(map(cell, [first, *values])) + ' |')
    return '\n'.join(lines)


_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 1em auto; max-width: 110em; padding: 0 1.5em; color: #222 }
h1 { font-size: 1.3em; margin: 0 }
p { margin: .3em 0; color: #555 }
table { border-collapse: collapse; width: 100%; table-layout: fixed }
th, td { text-align: left; vertical-align: top; padding: .35em .7em; overflow-wrap: anywhere }
td { border-top: 1px solid #e4e4e4 }
tr:hover td { background: #f6f8fa }
code { font: 13px ui-monospace, monospace }
small { color: #6a6a6a; display: block; font-size: 12px }
summary { font-weight: bold; background: #eef1f5; padding: .35em .7em; margin-top: .8em; cursor: pointer }
summary span { font-weight: normal; color: #6a6a6a }
.heads { position: sticky; top: 0; background: #fff; border-bottom: 2px solid #bbb; margin-top: .6em }
.none { color: #aaa }
"""


def _breakable(text: str) -> str:
    """A path for a page, which breaks at its separators."""
    return re.sub(r'/|(?=[.\[_])', lambda found: f'{found[0]}<wbr>', html.escape(text))


def page(found: Sequence[Change], configs: Sequence[ResolvedConfig]) -> str:
    """One HTML page that needs nothing else; each group can be closed."""
    listed = each(found, configs, width=400)
    ending = ' '.join(_ending(found, listed))
    heads = ''.join(
        f'<th>{letter(number)} <code>{_breakable(one.name)}</code></th>' for number, one in enumerate(configs)
    )
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Differences of configs</title>',
        f'<style>{_STYLE}</style></head><body><h1>Differences of configs</h1><p>{html.escape(ending)}</p>',
        f'<table class="heads"><tr><th></th>{heads}</tr></table>',
        page_tables(listed),
        '</body></html>',
        '',
    ]
    return '\n'.join(parts)


def page_tables(listed: Rows) -> str:
    """A table of HTML for each group, which can be closed."""
    parts = []
    for group, inside in listed.groups:
        parts.append(f'<details open><summary>{group} <span>{len(inside)}</span></summary><table>')
        for row in inside:
            also = ''.join(f'<small>also {_breakable(name)}</small>' for name in row.also)
            cells = [f'<td><code>{_breakable(row.name)}</code>{also}</td>']
            for value, place in zip(row.values, row.places, strict=True):
                kind = '' if place else ' class="none"'
                cells.append(f'<td{kind}><code>{html.escape(value)}</code><small>{_breakable(place)}</small></td>')
            parts.append(f'<tr>{"".join(cells)}</tr>')
        parts.append('</table></details>')
    return '\n'.join(parts)


def to_json(differences: Sequence[Difference], configs: Sequence[ResolvedConfig]) -> str:
    """Every difference with its values whole; null where a config has none.

    ``path`` is as ``--cfg-options`` takes it, ``line`` 0 where the file alone is known; what no run reads is a
    ``variable``.
    """

    def entry(difference: Difference, number: int) -> dict | None:
        path = difference.paths[number]
        if path is None:
            return None
        place = configs[number].origin(path)
        return dict(path='.'.join(map(str, path)), value=difference.values[number], file=place.file, line=place.line)

    listed = [
        dict(
            group=one.group,
            name=one.name,
            variable=one.is_variable,
            configs=[entry(one, number) for number in range(len(configs))],
        )
        for one in differences
    ]
    return json.dumps(dict(configs=[one.name for one in configs], differences=listed), indent=2, default=str)


def write(format: str, differences: Sequence[Difference], configs: Sequence[ResolvedConfig], lines: int | None) -> str:
    """Differences as ``table`` of so many lines, or as ``json``, ``markdown`` or ``html``, which have all."""
    if format == 'json':
        return to_json(differences, configs) + '\n'
    found = changes(differences)
    if format == 'table':
        return table(found, configs, lines)
    return dict(markdown=markdown, html=page)[format](found, configs)


# --- one config ------------------------------------------------------------------------------------------------------


def _entries(value, path: Path_) -> Iterator[tuple[Path_, object]]:
    """Values of a config, lists of plain values whole."""
    items = None
    if isinstance(value, dict) and value:
        items = value.items()
    elif isinstance(value, list | tuple) and any(isinstance(one, dict | list | tuple) for one in value):
        items = enumerate(value)
    if items is None:
        yield path, value
        return
    for key, one in items:
        yield from _entries(one, (*path, key))


def listing(config: ResolvedConfig, only: Sequence[str] = ()) -> str:
    """Each value of a config as ``path = value  # file:line``, the path as ``--cfg-options`` takes it.

    Args:
        only: parts to list, ``('model.backbone', 'train_pipeline[Resize]')``; all without any.

    Raises:
        ConfigError: the config has no such part.
    """
    below, lines = os.getcwd(), []
    parts = [find(config.values, one) for one in only] or [()]
    for path, value in _entries(config.values, ()):
        if any(path[: len(part)] == part for part in parts):
            name = '.'.join(map(str, path))
            lines.append((f'{name} = {show(value)}', config.origin(path).describe(below)))
    width = min(80, max((len(text) for text, _ in lines), default=0))
    return ''.join(f'{text:{width}}  # {place}\n' for text, place in lines)
