"""The answer of a study, written as a table, as Markdown and as a page, and printed in short."""

import html
from collections.abc import Iterator

from ..analysis import class_gains
from ..analysis.markdown import markdown_table
from ..configs.report import markdown_tables
from ..files import write_together
from . import curves, page, precision_recall, results, tables
from .findings import Findings, gather
from .plan import Plan

CURVES = 'curves.png'
PRECISION = 'precision_recall.png'


def write(plan: Plan) -> str:
    """Write the page, the Markdown, the curves and the numbers of what there is so far; the answer in short.

    Raises:
        ConfigError: a claim cannot be read, or what it is judged by cannot be.
    """
    found = gather(plan)
    path = plan.out / 'report.html'
    texts = {'report.html': page.write(found), 'report.md': markdown(found), 'results.csv': results.table(plan)}
    files = {name: text.encode() for name, text in texts.items()}
    if drawn := curves.picture(found):
        files[CURVES] = drawn
    if drawn := precision_recall.picture(found.classes):
        files[PRECISION] = drawn
    write_together({plan.out / name: content for name, content in files.items()})
    shown = [table for table in (tables.of_claims(found), tables.of_results(found)) if table.rows]
    return '\n\n'.join([found.answer, *map(_aligned, shown), str(path)])


def _aligned(table: tables.Table) -> str:
    """For a terminal."""
    rows = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join('  '.join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown(found: Findings) -> str:
    """All but the detections."""
    return '\n\n'.join(_parts(found)) + '\n'


def _parts(found: Findings) -> Iterator[str]:
    yield f'# {_text(found.title)}'
    if found.question != found.title:
        yield _text(found.question)
    yield f'**{_text(found.answer)}**'
    if found.about:
        yield _text(found.about)
    if found.claims:
        yield f'## Claims\n\n{_table(tables.of_claims(found))}\n\n{tables.OF_CLAIMS}'
    yield '## Results'
    yield _table(tables.of_results(found)) if found.results else 'No run is evaluated.'
    if any(one.metric == found.metric for one in found.curves):
        yield f'![Learning curves, the mean over seeds and how far they lie apart]({CURVES})'
    yield 'Learning curves that can be pointed at are in `report.html`, their numbers in `results.csv`.'
    if found.failed:
        yield '## Failed\n\n' + '\n'.join(f'* {_text(name)}: {_text(error)}' for name, error in found.failed)
    if found.classes:
        yield '## AP of each class'
        if any(one.arms for one in found.classes):
            yield f'{_text(tables.about_class_ap(found))}\n\n![Precision against recall of each arm]({PRECISION})'
    for one in found.classes:
        if one.title:
            yield f'### {_text(one.title)}'
        if one.missing:
            yield _text(f'{one.missing}.')
        if one.arms:
            yield _folded(tables.of_class_ap(one))
    if found.pairs:
        yield '## What the arms differ in'
    for pair in found.pairs:
        one, other = map(html.escape, pair.runs)
        listed = markdown_tables(pair.differences, 2)
        yield f'<details><summary>{one} (A) and {other} (B): {tables.counted(pair)}</summary>\n{listed}\n\n</details>'
    if found.costs:
        yield f'## Cost against {_text(found.metric)}\n\n{_table(tables.of_costs(found))}\n\n{tables.OF_COSTS}'
    if found.gains:
        yield '## Class by class'
    for one in found.gains:
        yield f'### {_text(one.runs[1])} less {_text(one.runs[0])}'
        if one.gains is None:
            yield _text(one.why)
            continue
        yield _text(class_gains.verdict(one.gains))
        yield _table(tables.of_groups(one.gains))
        yield _table(tables.of_classes(one.gains))
    if found.gallery:
        yield '## Where detections differ most'
        yield from map(_text, tables.about_gallery(found.gallery))
        if found.gallery.pictures:
            rows = [[one.name, *map(tables.number, one.f1)] for one in found.gallery.pictures]
            yield _table(tables.Table(['image', *(f'F1 of {name}' for name in found.gallery.runs)], rows))
    yield '## Versions and commands'
    yield from (f'* {_text(version)}: {number} trainings' for version, number in found.versions.items())
    yield f'```\n{tables.command(found)}\n```'
    yield (
        '<details><summary>Each run</summary>\n\n```\n'
        + '\n'.join(line for _, line in found.commands)
        + '\n```\n\n</details>'
    )


def _folded(table: tables.Table) -> str:
    """Behind a line, where it is long."""
    if len(table.rows) <= tables.CLASSES:
        return _table(table)
    return f'<details><summary>{len(table.rows) - 1} classes</summary>\n\n{_table(table)}\n\n</details>'


def _text(text: str) -> str:
    """Of a file or a name, in which nothing is to be markup."""
    text = ' '.join(html.escape(text, quote=False).split())
    for sign in '\\`*_|[]':
        text = text.replace(sign, f'\\{sign}')
    return text


def _table(table: tables.Table) -> str:
    return markdown_table([_text(cell) for cell in table.head], ([_text(cell) for cell in row] for row in table.rows))
