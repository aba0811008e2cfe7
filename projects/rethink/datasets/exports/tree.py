"""A folder listed once, and the names in labels found in it."""

import os
import re
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from ...errors import ConfigError, some_names
from ...trust.images import EXTENSIONS
from ...trust.soundness import check_kind, other_than_file
from .labelled import Notes

# The parts of a data set by the names that tools give them: train2017, Valid, instances_val2017.json.
_PARTS = dict(train=r'train(?:ing)?', val=r'val(?:id(?:ation)?)?', test=r'test(?:ing)?')


def part_of(name: str) -> str | None:
    """'train', 'val' or 'test' where a word of a name is one; None where none is, or several are."""
    found = [
        part for part, words in _PARTS.items() if re.search(rf'(?:^|[^a-z]){words}(?=\d|[^a-z0-9]|$)', name.lower())
    ]
    return found[0] if len(found) == 1 else None


def one_each(root: Path, folders: dict[str, set[str]]) -> dict[str, Path]:
    """The one folder of each part.

    Raises:
        ConfigError: a part has several.
    """
    for part, names in folders.items():
        if len(names) > 1:
            raise ConfigError(f'{root} has several folders for {part} ({some_names(names)}); name one of them.')
    return {part: root / min(names) for part, names in folders.items()}


def _unreadable(error: OSError):
    raise ConfigError(f'{error.filename} cannot be read ({error.strerror}); make it readable, or name another folder.')


def text_of(path: Path) -> str:
    """The text of a small file.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    check_kind(path, 'the text file')
    try:
        return path.read_text(encoding='utf-8-sig')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} cannot be read as UTF-8 text ({error}); write it again.') from None


class Tree:
    """The files below a folder, as paths with ``/``, sorted; hidden ones and macOS' copies (``._name``) passed over.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | os.PathLike) -> None:
        self.root = Path(root)
        self.files: list[str] = []
        self.hidden: list[str] = []
        seen = set()
        for place, folders, names in os.walk(self.root, onerror=_unreadable, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:  # a link that leads back
                folders.clear()
                continue
            seen.add(real)
            inside = Path(place).relative_to(self.root).as_posix()
            prefix = '' if inside == '.' else f'{inside}/'
            self.hidden += [prefix + name for name in names if name.startswith('._')]
            self.hidden += [prefix + name for name in folders if name == '__MACOSX']
            folders[:] = [name for name in folders if not name.startswith('.') and name != '__MACOSX']
            self.files += [prefix + name for name in names if not name.startswith('.')]
        self.files.sort()
        self.images = [name for name in self.files if name.lower().endswith(EXTENSIONS)]
        self._by_name, self._by_stem = defaultdict(list), defaultdict(list)
        for path in self.images:
            name = _key(os.path.basename(path))
            self._by_name[name].append(path)
            self._by_stem[os.path.splitext(name)[0]].append(path)

    def ending(self, *suffixes: str) -> list[str]:
        """Files, and no pipes, whose reading would never end."""
        found = [name for name in self.files if name.lower().endswith(suffixes)]
        return [name for name in found if other_than_file(self.root / name) is None]

    def called(self, name: str) -> list[str]:
        """The images of a file name, whatever their folder, capitals aside."""
        return self._by_name.get(_key(name), [])

    def named(self, name: str) -> list[str]:
        """The images whose path ends as a name does, capitals aside; the longest agreement of folders counts."""
        return _closest(self.called(PurePosixPath(name).name), PurePosixPath(name))

    def with_stem(self, path: str) -> list[str]:
        """The images called as a label file but for the suffix: of several those that lie closest to it."""
        label = PurePosixPath(path)
        found = self._by_stem.get(_key(label.stem), [])
        exact = [one for one in found if PurePosixPath(one).stem == label.stem] or found
        shared = [_shared(PurePosixPath(one).parts[:-1], label.parts[:-1]) for one in exact]
        best = max(shared, default=0)
        return [one for one, number in zip(exact, shared, strict=True) if number == best]

    def say_hidden(self, notes: Notes) -> None:
        if self.hidden:
            notes.remark('Copies that macOS makes (__MACOSX, ._name) are passed over', *self.hidden)


def _key(name: str) -> str:
    """A name by which it is found: capitals aside, and umlauts as one sign, of which macOS makes two."""
    return unicodedata.normalize('NFC', name).lower()


def _shared(one: tuple, other: tuple) -> int:
    number = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        number += 1
    return number


def _closest(paths: list[str], name: PurePosixPath) -> list[str]:
    backwards = [_key(part) for part in reversed(name.parts)]
    agree = [
        _shared(tuple(_key(part) for part in reversed(PurePosixPath(one).parts)), tuple(backwards)) for one in paths
    ]
    best = max(agree, default=0)
    found = [one for one, number in zip(paths, agree, strict=True) if number == best]
    exact = [one for one in found if one.endswith(str(name))]
    return exact or found


def plain(name: str) -> str:
    """The name of an image without what tools put around it: backslashes, an address, Label Studio's query, ``./``."""
    name = name.replace('\\', '/')
    if '?d=' in name:  # /data/local-files/?d=folder/name.jpg
        name = name.split('?d=', 1)[1]
    if '://' in name:
        name = name.split('://', 1)[1].split('?', 1)[0]
    name = unquote(name)
    parts = [part for part in name.split('/') if part not in ('', '.', '..') and not part.endswith(':')]
    return '/'.join(parts)


def without_upload(name: str) -> str | None:
    """The name that an image had before Label Studio put eight hexadecimal digits and a dash before it."""
    path = PurePosixPath(name)
    found = re.fullmatch(r'[0-9a-f]{8}-(.+)', path.name)
    return found[1] if found else None
