"""Rows as a table, for a terminal or in Markdown."""


def table(rows: list[list[tuple[str, str]]], form: str) -> str:
    """Rows of (name of the column, cell), all with the same columns; the first is set to the left.

    Args:
        form: ``'table'`` or ``'markdown'``.
    """
    lines = [[name for name, _ in rows[0]], *([cell for _, cell in row] for row in rows)]
    if form == 'markdown':
        lines.insert(1, ['---'] + ['---:'] * (len(lines[0]) - 1))
        return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return '\n'.join('  '.join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)
