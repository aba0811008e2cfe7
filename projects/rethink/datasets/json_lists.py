"""The lists of a JSON file in slices, so that a large one is parsed by several processes, a few MB at a time.

COCO's training annotations are 450 MB of text and several gigabytes of Python objects. Where a list's entries begin
and end shows in quotes and brackets alone; these are found with numpy, and what lies between is left to :mod:`json`,
slice by slice.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_QUOTE, _ESCAPE, _OPEN, _CLOSE = 1, 2, 3, 4
_KINDS = np.zeros(256, np.uint8)
for _kind, _bytes in ((_QUOTE, b'"'), (_ESCAPE, b'\\'), (_OPEN, b'[{'), (_CLOSE, b']}')):
    _KINDS[list(_bytes)] = _kind
_BOM = b'\xef\xbb\xbf'
# What stands before the bracket of a list in an object.
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*$')


@dataclass
class Lists:
    """The top-level lists of a JSON object.

    Iterating gives slices of them, ``(key, start, end)`` in bytes: whole entries, and the commas between.
    What else the object holds, and the attributes, are there afterwards.

    Args:
        path: of the file.
        size: bytes that are read at a time, and about as many in a slice.

    Attributes:
        bom: the file begins with a byte order mark.
        rest: the object, with its lists empty.
        digest: SHA-256 of the file.

    Raises:
        ValueError: while iterating, in words: the file is no JSON object.
    """

    path: str
    size: int = 4 << 20
    bom: bool = False
    rest: dict = field(default_factory=dict)
    digest: str = ''

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        digest, skeleton = hashlib.sha256(), []
        depth = inside = place = 0
        key, start = None, 0  # of the list that is open, and where its next slice begins
        kept = 0  # up to where the skeleton is
        tail = b''  # of what was read before, for a key that ends there
        with open(self.path, 'rb') as file:
            while chunk := _whole(file, self.size):
                digest.update(chunk)
                if place == 0 and chunk.startswith(_BOM):
                    self.bom, kept = True, len(_BOM)
                elif place == 0 and (chunk[0] >= 0x80 or b'\0' in chunk[:4] or chunk[0] == 0x1F):
                    raise ValueError('it is no text in UTF-8, but packed or of another encoding')
                places, opens, after, inside = _brackets(chunk, depth, inside)
                if len(after):
                    if after.min() < 0:
                        raise ValueError('a bracket closes that was never opened')
                    depth = int(after[-1])
                # The brackets of the object's own values; and, where such a list is open, the last end of an entry.
                for index in np.flatnonzero((opens & (after == 2)) | (~opens & (after == 1))):
                    at = place + int(places[index])
                    if opens[index]:
                        before = (tail + chunk[: places[index]])[-1000:] if places[index] < 1000 else None
                        found = _KEY.search(before or chunk[places[index] - 1000 : places[index]])
                        if found and chunk[places[index]] == ord('['):
                            key, start = json.loads(b'"%b"' % found[1]), at + 1
                            skeleton.append(chunk[kept - place : at + 1 - place])
                    elif key is not None:
                        if start < at:
                            yield key, start, at
                        key, kept = None, at
                if key is not None:
                    ends = places[~opens & (after == 2)]
                    if len(ends) and place + int(ends[-1]) + 1 > start:
                        yield key, start, place + int(ends[-1]) + 1
                        start = place + int(ends[-1]) + 1
                else:
                    skeleton.append(chunk[kept - place :])
                    kept = place + len(chunk)
                place += len(chunk)
                tail = (tail + chunk)[-1000:] if len(chunk) < 1000 else chunk[-1000:]
        if not place:
            raise ValueError('it is empty')
        self.digest = digest.hexdigest()
        if depth or inside:
            raise ValueError('the file ends in the middle, it may be half-written')
        self.rest = json.loads(b''.join(skeleton) or b'null')
        if not isinstance(self.rest, dict):
            raise ValueError('it is no JSON object')


# A polygon of some points.
_NUMBERS = re.compile(rb'(?<=\[)[-+0-9.eE, \t\r\n]{200,}(?=\])')
_SHORT = [b','.join([b'0'] * number) for number in range(10)]


def _shortened(found: re.Match) -> bytes:
    """Zeros in the place of many numbers: 8, or 9 if their number is odd."""
    before = found.string[max(found.start() - 20, 0) : found.start()]
    if b'"keypoints"' in before or b'"counts"' in before:
        return found[0]
    number = found[0].count(b',') + 1
    return found[0] if number < 8 else _SHORT[8 + number % 2]


def entries(path: str, start: int, end: int, shorten: bool = False) -> list:
    """What a slice holds.

    Args:
        shorten: lists of many numbers, but for keypoints and the counts of an RLE, become 8 zeros, or 9 if their
            number is odd. Most of COCO's bytes are polygons, and most of the time goes into their numbers. Whether
            each is one is not looked at.

    Raises:
        ValueError: no JSON, with the place in the file.
    """
    with open(path, 'rb') as file:
        file.seek(start)
        text = file.read(end - start)
    plain = (_NUMBERS.sub(_shortened, text) if shorten else text).strip()
    plain = plain[1:] if plain.startswith(b',') else plain
    try:
        return json.loads(b'[%b]' % plain)
    except ValueError as error:
        raise ValueError(f'{error} in the bytes from {start:,} on') from None


def _whole(file, size: int) -> bytes:
    """A chunk that no escape sequence is cut by."""
    chunk = file.read(size)
    while chunk.endswith(b'\\') and (more := file.read(1)):
        chunk += more
    return chunk


def _brackets(chunk: bytes, depth: int, inside: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Places of brackets outside of strings, whether they open, the depth behind; and whether a string is open."""
    codes = np.frombuffer(chunk, np.uint8)
    kinds = _KINDS[codes]
    places = np.flatnonzero(kinds)
    kinds = kinds[places]
    if (kinds == _ESCAPE).any():
        keep, escaped = np.ones(len(places), bool), -1
        for index in np.flatnonzero(kinds == _ESCAPE):
            if places[index] == escaped:
                continue
            escaped = places[index] + 1
            if index + 1 < len(places) and places[index + 1] == escaped:
                keep[index + 1] = False
        places, kinds = places[keep], kinds[keep]
    quoted = (np.cumsum(kinds == _QUOTE) + inside) % 2
    inside = int(quoted[-1]) if len(quoted) else inside
    brackets = (kinds >= _OPEN) & (quoted == 0)
    opens = kinds[brackets] == _OPEN
    after = np.cumsum(np.where(opens, 1, -1)) + depth
    return places[brackets], opens, after, inside
