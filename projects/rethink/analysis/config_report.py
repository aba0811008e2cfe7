"""Configs and their differences for people and programs: a table, Markdown, HTML, JSON, and a listing of places."""

import html
import io
import json
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .config_diff import ABSENT, GROUPS, NAMES, Change, Difference, changes, dotted, type_name
from .config_lines import Path_
from .config_provenance import ResolvedConfig

# Differences that a screen has room for, with two lines each; where there are more, parts that get a line each.
SCREEN, PARTS = 20, 36


def show(value, width: int = 100) -> str:
    """A value in one line of at most ``width`` characters, dicts with a type as calls of it."""
    text = _text(value)
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


class Row(NamedTuple):
    """A line of a table: a change, or several of one part of the config."""

    group: str
    name: str
    also: tuple[str, ...]
    values: tuple[str, ...]
    places: tuple[str, ...]


class Rows(NamedTuple):
    """Lines of a table, the folder below which their files are named, and whether several changes are one line."""

    rows: list[Row]
    below: str
    folded: bool


def rows(found: Sequence[Change], configs: Sequence[ResolvedConfig], limit: int | None) -> Rows:
    """Lines of a table: one for each change, or, where there are more than ``limit``, for each part of the configs."""
    found = [one for one in found if one.group != NAMES]
    if limit is not None and len(found) > limit:
        return Rows(list(_parts(found, configs)), os.getcwd(), True)
    origins = [
        [
            None if path is None else config.origin(path)
            for config, path in zip(configs, one.places[0].paths, strict=True)
        ]
        for one in found
    ]
    below = _common_folder([place.file for line in origins for place in line if place])
    listed = []
    for one, line in zip(found, origins, strict=True):
        first, *others = one.places
        places = tuple('' if place is None else place.describe(below) for place in line)
        also = tuple(other.name for other in others)
        listed.append(Row(one.group, first.name, also, tuple(contrast(first.values)), places))
    return Rows(listed, below, False)


def _common_folder(files: list[str]) -> str:
    folders = {os.path.dirname(file) for file in files if os.path.isabs(file)}
    return os.path.commonpath(folders) if folders else os.getcwd()


def _parts(found: Sequence[Change], configs: Sequence[ResolvedConfig]) -> Iterator[Row]:
    """A line for each part of the configs, as large as it must be for PARTS lines; variables are one in each group."""
    values = [one for one in found if not one.is_variable]
    for depth in range(max((len(one.places[0].label) for one in values), default=1), 0, -1):
        parts: dict[tuple, list[Change]] = {}
        for one in values:
            parts.setdefault((one.group, one.places[0].label[:depth]), []).append(one)
        if len(parts) <= PARTS:
            break
    for (group, label), inside in parts.items():
        if len(inside) == 1:
            one = inside[0].places[0]
            yield Row(group, one.name, (), tuple(contrast(one.values)), ())
        else:
            name = f'{dotted(label)} ({len(inside)} differences)'
            yield Row(group, name, (), tuple(_sketches(label, inside, configs)), ())
    for group in GROUPS:
        names = [one.places[0].name for one in found if one.is_variable and one.group == group]
        if names:
            yield Row(group, f'variables: {", ".join(names)}', (), ('',) * len(configs), ())


def _sketches(label: tuple[str, ...], inside: list[Change], configs: Sequence[ResolvedConfig]) -> Iterator[str]:
    """The value at the root of a part, for each config."""
    for number, config in enumerate(configs):
        path = next((one.places[0].paths[number] for one in inside if one.places[0].paths[number] is not None), None)
        value = ABSENT if path is None else config.values
        for key in (path or ())[: len(label)]:
            value = value[key]
        yield show(value)


# --- formats ---------------------------------------------------------------------------------------------------------


def letter(number: int) -> str:
    return chr(ord('A') + number)


def _sections(listed: Rows) -> Iterator[tuple[str, list[Row]]]:
    for group in GROUPS:
        inside = [row for row in listed.rows if row.group == group]
        if inside:
            yield group, inside


def _ending(found: Sequence[Change], listed: Rows) -> list[str]:
    counted = [one for one in found if one.group != NAMES]
    names = [one.places[0].name for one in found if one.group == NAMES]
    groups = [group for group in GROUPS if any(one.group == group for one in counted)]
    lines = [f'{len(counted)} difference{"s" * (len(counted) != 1)}' + (f': {", ".join(groups)}.' if groups else '.')]
    if names:
        lines.append(f'Not counted: {", ".join(names)}.')
    if counted and not listed.folded:
        lines.append(f'Files are below {os.path.relpath(listed.below)}.')
    if listed.folded:
        lines.append('A part with several differences is one line; --all lists each, --only PATH those of a part.')
    return lines


def table(found: Sequence[Change], configs: Sequence[ResolvedConfig], limit: int | None = SCREEN) -> str:
    """For a terminal: a section for each group, below each value its file and line.

    Args:
        limit: with more changes than these a part of the configs is a line; None for a line for each change.
    """
    console = Console(file=io.StringIO(), force_terminal=Console().is_terminal, width=_width(), highlight=False)
    for number, config in enumerate(configs):
        console.print(Text(f'{letter(number)}  {config.name}', style='bold'))
    listed = rows(found, configs, limit)
    for group, inside in _sections(listed):
        grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style='bold cyan')
        layout = dict(overflow='ellipsis', no_wrap=True) if listed.folded else dict(overflow='fold')
        grid.add_column(group, ratio=4, **layout)
        for number in range(len(configs)):
            grid.add_column(letter(number), ratio=5, **layout)
        for row in inside:
            places = row.places or ('',) * len(configs)
            cells = [
                Text.assemble(value, (f'\n{place}' * bool(place), 'dim'))
                for value, place in zip(row.values, places, strict=True)
            ]
            grid.add_row(Text.assemble(row.name, (_also(row.also), 'dim')), *cells)
        if not listed.folded:
            console.print()
        console.print(grid)
    console.print()
    for line in _ending(found, listed):
        console.print(Text(line))
    # Columns are filled up with blanks.
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines()) + '\n'


def _width() -> int:
    return Console().width if Console().is_terminal or 'COLUMNS' in os.environ else 140


def _also(names: Sequence[str]) -> str:
    more = f' and {len(names) - 1} more' if len(names) > 1 else ''
    return f'\nalso {names[0]}{more}' if names else ''


def markdown(found: Sequence[Change], configs: Sequence[ResolvedConfig]) -> str:
    """A table for each group."""

    def cell(text: str) -> str:
        return text.replace('|', '\\|')

    listed = rows(found, configs, None)
    lines = [f'- {letter(number)}: `{config.name}`' for number, config in enumerate(configs)]
    for group, inside in _sections(listed):
        heads = [group, *map(letter, range(len(configs)))]
        lines += ['', f'| {" | ".join(heads)} |', f'|{" --- |" * len(heads)}']
        for row in inside:
            first = f'`{row.name}`' + ''.join(f'<br>also `{name}`' for name in row.also)
            values = [
                f'`{value}`' + f'<br>{place}' * bool(place)
                for value, place in zip(row.values, row.places, strict=True)
            ]
            lines.append('| ' + ' | '.join(map(cell, [first, *values])) + ' |')
    return '\n'.join([*lines, '', *_ending(found, listed), ''])


_STYLE = (
    'body{font:14px system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}'
    'table{border-collapse:collapse;width:100%;table-layout:fixed}'
    'th,td{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd;overflow-wrap:anywhere}'
    'code{font-size:13px}small{color:#666;display:block}h2{font-size:1em;margin:1.5em 0 .3em}'
)


def page(found: Sequence[Change], configs: Sequence[ResolvedConfig]) -> str:
    """One HTML page that needs nothing else."""
    parts = ['<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Differences of configs</title>']
    parts.append(f'<style>{_STYLE}</style></head><body><h1>Differences of configs</h1><ul>')
    parts += [f'<li>{letter(number)}: <code>{html.escape(one.name)}</code></li>' for number, one in enumerate(configs)]
    parts.append('</ul>')
    listed = rows(found, configs, None)
    for group, inside in _sections(listed):
        heads = ''.join(f'<th>{letter(number)}</th>' for number in range(len(configs)))
        parts.append(f'<h2>{group}</h2><table><tr><th></th>{heads}</tr>')
        for row in inside:
            also = ''.join(f'<small>also {html.escape(name)}</small>' for name in row.also)
            cells = [f'<td><code>{html.escape(row.name)}</code>{also}</td>']
            for value, place in zip(row.values, row.places, strict=True):
                cells.append(f'<td><code>{html.escape(value)}</code><small>{html.escape(place)}</small></td>')
            parts.append(f'<tr>{"".join(cells)}</tr>')
        parts.append('</table>')
    parts += [f'<p>{html.escape(line)}</p>' for line in _ending(found, listed)]
    return '\n'.join([*parts, '</body></html>', ''])


def to_json(differences: Sequence[Difference], configs: Sequence[ResolvedConfig]) -> str:
    """Every difference with its values whole; null where a config has none.

    ``path`` is as ``--cfg-options`` takes it, ``line`` 0 where the file alone is known.
    """

    def entry(difference: Difference, number: int) -> dict | None:
        path = difference.paths[number]
        if path is None:
            return None
        place = configs[number].origin(path)
        return dict(path='.'.join(map(str, path)), value=difference.values[number], file=place.file, line=place.line)

    listed = [
        dict(group=one.group, name=one.name, configs=[entry(one, number) for number in range(len(configs))])
        for one in differences
    ]
    return json.dumps(dict(configs=[one.name for one in configs], differences=listed), indent=2, default=str)


def write(format: str, differences: Sequence[Difference], configs: Sequence[ResolvedConfig], limit: int | None) -> str:
    """Differences as ``table``, ``json``, ``markdown`` or ``html``."""
    if format == 'json':
        return to_json(differences, configs) + '\n'
    found = changes(differences)
    return (
        table(found, configs, limit)
        if format == 'table'
        else dict(markdown=markdown, html=page)[format](found, configs)
    )


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
    """Each value of a config as ``path = value  # file:line``, the path as ``--cfg-options`` takes it."""
    below, lines = os.getcwd(), []
    for path, value in _entries(config.values, ()):
        name = '.'.join(map(str, path))
        if not only or any(f'{name}.'.startswith(f'{one}.') for one in only):
            lines.append((f'{name} = {show(value)}', config.origin(path).describe(below)))
    width = min(80, max((len(text) for text, _ in lines), default=0))
    return ''.join(f'{text:{width}}  # {place}\n' for text, place in lines)
