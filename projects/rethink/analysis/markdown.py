"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(titles: Sequence, rows: Iterable[Sequence], numbers: int = 0) -> str:
    """A table; cells are written as they are.

    Args:
        numbers: of the columns so many of the last are set to the right.
    """
    marks = [' --- '] * (len(titles) - numbers) + [' ---: '] * numbers
    lines = [f'| {" | ".join(map(str, row))} |' for row in (titles, *rows)]
    return '\n'.join([lines[0], f'|{"|".join(marks)}|', *lines[1:]])
