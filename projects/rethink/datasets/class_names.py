"""Names of classes and keypoints as people write them: which may be meant as one."""

import re
import unicodedata
from collections.abc import Iterable

# Of such names, in a sentence.
ALIKE = 'differ in capitals or spaces alone'
ONE_NAME = 'if they are meant as one class, write one name in all annotations and once in metainfo.classes'


def plain(name: str) -> str:
    """A name without what people do not see as a difference: capitals, spaces, an umlaut as one sign or as two."""
    return ''.join(unicodedata.normalize('NFKC', name).split()).casefold()


def bare(name) -> str:
    """A name without what spellings of published lists differ in: capitals, spaces, underscores, brackets."""
    text = str(name)
    return re.sub(r'[\W_]', '', text).casefold() or text


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that :func:`plain` makes the same, in the order of their first."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(plain(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
