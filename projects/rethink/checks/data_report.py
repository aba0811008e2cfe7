"""What is in detection data sets and what is wrong with them, as a table, JSON or a page."""

import html
import json
import os
from dataclasses import asdict, dataclass, field

import numpy as np

from ..datasets.annotations import objects_of_categories
from ..datasets.class_names import ALIKE, ONE_NAME, alike
from ..errors import some_names
from ..reuse import tool
from .data_files import Split, cannot_be_decoded, same_content, sizes_of
from .findings import LEVELS, Finding, count, text
from .problems import Problem

# Rows of classes on a screen.
_ROWS = 30
_QUANTILES = ('least', '5 %', 'median', '95 %', 'most')


@dataclass
class Report:
    """What was found.

    Args:
        splits: looked at.
        problems: of them, and between them.
        classes: name → annotations in each split.
        sizes: of each split, quantiles of what there is.
    """

    splits: list[Split]
    problems: list[Problem]
    classes: dict[str, list[int]] = field(default_factory=dict)
    sizes: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def bad(self) -> bool:
        return any(one.level in ('error', 'missing') for one in self.problems)


def look(splits: list[Split], check_images: bool, workers: int, progress: bool = True) -> Report:
    """All of a report.

    Args:
        check_images: decode them all.
        workers: processes.
    """
    found = Report(splits, [problem for one in splits for problem in one.problems])
    for index, one in enumerate(splits):
        if one.annotations is None:
            found.sizes.append({})
            continue
        a = one.annotations
        for category, number in zip(a.categories, objects_of_categories(a), strict=True):
            found.classes.setdefault(str(category.get('name')), [0] * len(splits))[index] += number
        found.sizes.append(sizes_of(a))
    found.problems += _alike(found)
    found.problems += _orders(splits)
    found.problems += _shared(splits, workers, progress)
    if check_images:
        paths = [path for one in splits for path in _paths(one) if os.path.isfile(path)]
        broken = cannot_be_decoded(paths, workers, progress)
        if broken:
            what = f'{len(broken):,} of {len(paths):,} images cannot be decoded whole ({some_names(broken)}).'
            found.problems.append(Problem('broken-images', 'error', what, 'replace them, or take them out'))
    found.problems.sort(key=lambda one: LEVELS.index(one.level))
    return found


def _paths(one: Split) -> list[str]:
    return [os.path.join(one.folder, name) for name in one.names if name]


def _alike(found: Report) -> list[Problem]:
    """Of all splits, so that also a name in one and its other spelling in another are told."""
    said = ' '.join(one.what for one in found.problems if ALIKE in one.what)  # the reader of an export says it itself
    groups = [group for group in alike(found.classes) if not all(repr(name) in said for name in group)]
    problems = []
    for group in groups:
        numbers = ', '.join(f'{name!r} with {sum(found.classes[name]):,} objects' for name in group)
        what = f'names of classes {ALIKE} ({numbers}), and each is a class of its own.'
        problems.append(Problem('alike-classes', 'warning', what, ONE_NAME))
    return problems


def _orders(splits: list[Split]) -> list[Problem]:
    """MMDetection takes the classes of COCO files in their order."""
    files = {one.path: one.annotations for one in splits if one.annotations and one.path.endswith('.json')}
    orders = {path: [category.get('name') for category in a.categories] for path, a in files.items()}
    found, first = [], next(iter(orders), None)
    for path, names in orders.items():
        if names != orders[first] and sorted(map(str, names)) == sorted(map(str, orders[first])):
            what = f'{path} lists the categories of {first} in another order, in which MMDetection would take them.'
            fix = f'{tool("dataset_converters/order_categories.py")} {path} --like {first}'
            fix += ' --ids' * files[path].of_lvis
            found.append(Problem('order', 'error', what, fix))
        elif set(names) != set(orders[first]):
            other = some_names(map(str, {*names} ^ {*orders[first]}))
            what = f'{path} has other categories than {first}: {other} are of one of them alone.'
            found.append(Problem('categories', 'warning', what, 'give both the same categories'))
    return found


def _shared(splits: list[Split], workers: int, progress: bool) -> list[Problem]:
    """Images of several splits by name and by content, and images twice in one."""
    found, owners = [], {}
    for index, one in enumerate(splits):
        for path in _paths(one):
            owners.setdefault(os.path.normpath(path), set()).add(index)
    for i, one in enumerate(splits):
        for j, other in enumerate(splits[:i]):
            both = [path for path, those in owners.items() if {i, j} <= those]
            # Of one part there are several versions: trainval and val, boxes and keypoints, a thousand and all.
            if both and not _parts(one) & _parts(other):
                what = f'{other.path} and {one.path} share {len(both):,} images ({some_names(both)}).'
                found.append(Problem('shared-images', 'warning', what, 'evaluate on images that are not trained on'))
    groups = same_content(list(owners), workers, progress)
    across = [g for g in groups if not set.intersection(*(owners[path] for path in g))]
    within = [g for g in groups if g not in across]
    for some, where, fix in (
        (across, 'in different splits under different names', 'evaluate on images that are not trained on'),
        (within, 'in one split under different names', 'keep one of each'),
    ):
        if some:
            pairs = '; '.join(' = '.join(group[:3]) for group in some[:3])
            what = f'{len(some):,} images are there more than once, {where} ({pairs}{"; …" if len(some) > 3 else ""}).'
            found.append(Problem('same-content', 'warning', what, fix))
    return found


def _parts(one: Split) -> set[str]:
    """What its name says it is for: of ``trainval``, both."""
    return {part for part in ('train', 'val', 'test') if part in one.name.lower()}


# --- forms -----------------------------------------------------------------------------------------------------------


def _tables(found: Report) -> list[tuple[str, list[list[str]]]]:
    """Titles, and rows of which the first is the head."""
    splits = [['split', 'images', 'objects', 'crowd or difficult', 'images without objects', 'file']]
    for one in found.splits:
        a = one.annotations
        if a is None:
            splits.append([one.name, '?', '?', '?', '?', one.path])
            continue
        empty = len(a.image_ids) - int(np.isin(a.image_ids, a.of_image).sum())
        numbers = (len(a.image_ids), len(a.ids), int((a.crowd > 0).sum()), empty)
        splits.append([one.name, *(f'{number:,}' for number in numbers), one.path])
    classes = [['class', *(one.name for one in found.splits)]]
    ordered = sorted(found.classes.items(), key=lambda one: -sum(one[1]))
    classes += [[name, *(f'{number:,}' for number in numbers)] for name, numbers in ordered]
    sizes = [['split', 'pixels, or number', *_QUANTILES]]
    for one, quantiles in zip(found.splits, found.sizes, strict=True):
        sizes += [[one.name, name, *(f'{value:.0f}' for value in values)] for name, values in quantiles.items()]
    return [('Splits', splits), ('Annotations of classes', classes), ('Sizes', sizes)]


def _findings(found: Report) -> list[Finding]:
    return [Finding(one.level, '', one.what, fix=one.fix, rule=one.kind) for one in found.problems]


def as_table(found: Report) -> str:
    parts = []
    for title, rows in _tables(found):
        left_out = len(rows) - 1 - _ROWS
        rows = rows if left_out <= 0 else rows[: _ROWS + 1]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [
            '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
        more = [f'and {left_out} more, which --format json and html have'] if left_out > 0 else []
        parts.append('\n'.join([title, *(f'  {line}' for line in (*lines, *more))]))
    return '\n\n'.join([*parts, text(_findings(found))])


def as_json(found: Report) -> str:
    content = dict(
        splits=[
            dict(
                name=one.name,
                path=one.path,
                images=len(one.annotations.image_ids) if one.annotations else None,
                objects=len(one.annotations.ids) if one.annotations else None,
                sizes={name: dict(zip(_QUANTILES, map(_number, values), strict=True)) for name, values in its.items()},
            )
            for one, its in zip(found.splits, found.sizes, strict=True)
        ],
        classes=found.classes,
        problems=[asdict(one) for one in found.problems],
    )
    return json.dumps(content, indent=1, ensure_ascii=False)


def _number(value: float) -> float | None:
    return round(float(value), 2) if np.isfinite(value) else None


_STYLE = (
    'body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:'
    'collapse}td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:right}td:first-child,th:first-child'
    '{text-align:left}.error,.missing{color:#b00}.warning{color:#a60}li{margin:.6em 0}'
)


def as_html(found: Report) -> str:
    lines = [
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Data</title><style>{_STYLE}</style>',
        f'</head><body><h1>Data</h1><p>{count(_findings(found))}</p><ul>',
    ]
    for one in found.problems:
        what, fix = html.escape(one.what), html.escape(one.fix)
        lines.append(f'<li><b class="{one.level}">{one.level}</b> {what} <i>{fix}</i></li>')
    lines.append('</ul>')
    for title, (head, *rows) in _tables(found):
        cells = ''.join(f'<th>{html.escape(cell)}</th>' for cell in head)
        lines.append(f'<h2>{title}</h2><table><tr>{cells}</tr>')
        lines += [f'<tr>{"".join(f"<td>{html.escape(cell)}</td>" for cell in row)}</tr>' for row in rows]
        lines.append('</table>')
    return '\n'.join([*lines, '</body></html>'])
