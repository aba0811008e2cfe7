"""The images that an annotation file lists: whether they are there and whole, and have the size that it says."""

import os
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import numpy as np
from PIL import Image

from ..datasets.annotations import Annotations
from ..datasets.image_statistics import decode
from ..datasets.splits import find_missing
from ..errors import some_names
from ..trust.images import file_cut_off
from ..trust.soundness import in_place_of, other_than_file
from .files import how_to_get
from .problems import Problem

# Images whose header is read: all of a small set, so many of a larger one.
SAMPLE = 500
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


def missing_images(path: str, folder: str, names: Sequence[str]) -> Iterator[Problem]:
    """Images without a file; each folder is listed once."""
    names = [name for name in names if name]
    backslashes = [name for name in names if '\\' in name]
    folder = os.path.expanduser(folder)
    missing = find_missing(folder, names)
    if len(missing) < SAMPLE:  # what is there and is no file is looked at one by one
        odd = [name for name in missing if os.path.lexists(os.path.join(folder, name))]
        missing = [name for name in missing if name not in odd]
        if odd:
            other = other_than_file(os.path.join(folder, odd[0]))
            what = f'{len(odd):,} of the {len(names):,} images of {path} are no files: {odd[0]} in {folder} {other}.'
            yield Problem('no-files', 'error', what, 'replace them, or take them out of the file')
    if backslashes and set(backslashes) & set(missing):
        what = (
            f'{len(backslashes):,} of {len(names):,} names of images in {path} have a backslash '
            f'({some_names(backslashes)}), which separates folders under Windows alone.'
        )
        yield Problem('backslashes', 'error', what, 'write / in its place')
        return
    if not missing:
        return
    what = f'{len(missing):,} of the {len(names):,} images of {path} are missing in {folder} ({some_names(missing)}'
    every = f'name the folder that has them in data_prefix; {how_to_get(folder)}'
    fix = every if len(missing) == len(names) else 'complete the folder, or take these images out of the file'
    yield Problem('missing-images', 'missing', f'{what}{_elsewhere(folder, missing)}).', fix)


def _elsewhere(folder: str, missing: list[str]) -> str:
    """Where the first one is, or what has nearly its name."""
    name = missing[0].replace('\\', '/')
    parts = name.strip('/').split('/')
    for at in range(len(parts)):
        tail = '/'.join(parts[at:])
        below = [(folder, f'{tail!r} is in {folder} itself'), (os.path.dirname(os.path.normpath(folder)), None)]
        for place, words in below if at else below[1:]:
            if os.path.isfile(os.path.join(place, tail)):
                return f'; {words or f"{tail!r} is in {place}"}'
    place = os.path.join(folder, os.path.dirname(missing[0]))
    try:
        with os.scandir(place) as entries:
            there = sorted(entry.name for entry in entries)
    except OSError:
        return f'; there is no folder {place}'
    plain = _plain(os.path.basename(name))
    near = next((one for one in there if _plain(one) == plain), None)
    if near and near.lower() != os.path.basename(name).lower():
        return f'; there is {near!r}, the same name in other bytes: umlauts as one sign or as two, %20 for a space'
    near = near or next((one for one in there if _plain(one)[1] == plain[1]), None)
    if near:
        return f'; there is {near!r}'
    return f'; {place} has {some_names(there[:1])} and others' if there else f'; {place} is empty'


def _plain(name: str) -> tuple[str, str]:
    """A name, and it without its ending, as people read it."""
    name = unicodedata.normalize('NFC', unquote(name)).lower()
    return name, os.path.splitext(name)[0]


def sizes_of_images(a: Annotations, folder: str, names: Sequence[str]) -> Iterator[Problem]:
    """Sizes in the file against the headers of images: of all, or of :data:`SAMPLE` spread over the file."""
    number = len(names)
    picked = np.unique(np.linspace(0, number - 1, min(number, SAMPLE)).astype(int)) if number else ()
    other, turned, broken, half, deep = [], [], [], [], []
    for index in picked:
        path = os.path.join(os.path.expanduser(folder), names[index])
        found = header(path)
        if found is None:
            if decode(path) is None:  # OpenCV reads some that Pillow does not know
                broken.append(names[index])
            continue
        if not np.isnan(found[0][0]) and file_cut_off(path):
            half.append(names[index])
        (width, height), by_exif, bits = found
        if np.isnan(width) and other_than_file(path):
            broken.append(names[index])
        if bits > 8:
            deep.append(names[index])
        off = np.abs(a.sizes[index] - (width, height)).max()
        if off <= 1 or np.isnan(off):
            continue
        as_said = '{:g} × {:g}'.format(*a.sizes[index])
        (turned if by_exif else other).append(f'{names[index]}: {as_said}, is {width} × {height}')
    looked = 'all' if len(picked) == number else f'{len(picked):,} looked at'
    if broken:
        first = os.path.join(os.path.expanduser(folder), broken[0])
        left = None if other_than_file(first) else in_place_of(first)
        what = f'{len(broken):,} of {looked} images of {a.path} are no images ({some_names(broken)})'
        what += f'; the first is {left}.' if left else '.'
        yield Problem('no-images', 'error', what, 'replace them, or take them out of the file')
    if deep:
        what = (
            f'{len(deep):,} of {looked} images of {a.path} have more than 8 bits a channel ({some_names(deep)}), of '
            'which a training sees the upper 8: one of 12 bits in a file of 16 is almost black.'
        )
        yield Problem('deep-images', 'warning', what, 'scale their values to 0 to 255 in images of 8 bits')
    if half:
        what = f'{len(half):,} of {looked} images of {a.path} are cut off ({some_names(half)}).'
        yield Problem('cut-off', 'error', what, 'copy them again, or take them out of the file')
    for some, why in (
        (turned, 'EXIF turns them when they are read, and boxes of the unturned image do not fit'),
        (other, 'boxes are left out or lie elsewhere'),
    ):
        if some:
            what = (
                f'{len(some):,} of {looked} images of {a.path} have another size than it says '
                f'({"; ".join(some[:3])}): {why}.'
            )
            fix = 'write the sizes of the images that the boxes belong to'
            yield Problem('wrong-size', 'error', what, fix, sure=False)


# Pillow's modes of more than 8 bits.
_DEEP = ('I', 'F')


def header(path: str) -> tuple[tuple[float, float], bool, int] | None:
    """Width and height as mmcv reads an image, whether EXIF swaps them, bits of a channel; None where it is none.

    NaN of what is no file, which the rule of files tells, and of very many pixels (:mod:`rethink.trust.images`).
    """
    if other_than_file(path):
        return (np.nan, np.nan), False, 8
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter('ignore')
            # That of a PNG would decode it first.
            turned = Image.Image.getexif(image).get(_ORIENTATION) in _TURNED
            deep = image.mode.startswith(_DEEP) or (image.format == 'PNG' and _depth_of_png(path) > 8)
            return (image.size[::-1] if turned else image.size), turned, 16 if deep else 8
    except Image.DecompressionBombError:
        return (np.nan, np.nan), False, 8
    except Exception:  # Pillow raises what it likes of bytes that are no image
        return None


def _depth_of_png(path: str) -> int:
    """Pillow gives colours of 16 bits as those of 8."""
    with open(path, 'rb') as file:
        return file.read(25)[-1]
