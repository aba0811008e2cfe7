"""Images that would stop a run, or be another one than they were: no files, a few bytes that become gigabytes, half.

Importing rethink (:func:`rethink.trust.install`) puts a look at them before mmcv's decoder and before the steps of a
pipeline that read images and segmentation maps, and gives their errors the name of the file.
"""

import functools
import mmap
import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from ..errors import ConfigError, say
from .soundness import other_than_file

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
# More pixels than this (0.8 GB when decoded) are decoded only of a file that has a byte for each hundred of them. A
# blank JPEG has one for about fifty, a blank PNG one for some thousands, aerial photographs a few for each.
_PIXELS, _PIXELS_OF_A_BYTE = 1 << 28, 100


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of an image, by its header alone; None of what is none, or has another format."""
    if content[:8] == b'\x89PNG\r\n\x1a\n':
        return struct.unpack_from('>II', content, 16) if len(content) >= 24 else None
    if content[:2] == b'\xff\xd8':
        return _size_of_jpeg(content)
    try:
        with Image.open(BytesIO(content)) as image:
            return image.size
    except Exception:  # no image, or Pillow's own limit
        return None


def _size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    for marker, place in _segments(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from('>HH', content, place + 5)
            return width, height
    return None


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of the segments of a JPEG, up to the first scan."""
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], 'big')
        if marker == 0xFF:  # fills up
            place += 1
            continue
        yield marker, place
        if marker == 0xDA:
            return
        place += 2 + length


# Bytes at the end of a file in which its end is looked for first.
_TAIL = 1024


def cut_off(content: bytes) -> bool:
    """Whether a JPEG or PNG has no end, so that a decoder that goes on fills what is missing with grey or black."""
    if content[:8] == b'\x89PNG\r\n\x1a\n':
        return content.rfind(b'IEND') < 0
    if content[:2] != b'\xff\xd8':
        return False
    # Cameras write more behind the end. In a scan the marker cannot be, but before it, in a thumbnail.
    end = content.rfind(b'\xff\xd9')
    if end < len(content) - _TAIL:
        scan = next((place for marker, place in _segments(content) if marker == 0xDA), len(content))
        return end < scan
    return False


def file_cut_off(path: str | os.PathLike) -> bool:
    """:func:`cut_off` of a file, of which the last bytes are read where they tell."""
    with open(path, 'rb') as file:
        start = file.read(8)
        file.seek(max(os.fstat(file.fileno()).st_size - _TAIL, 0))
        tail = file.read()
        if b'IEND' in tail if start[1:4] == b'PNG' else b'\xff\xd9' in tail:
            return False
        file.seek(0)
        return cut_off(file.read())


# A bit for each name, which data workers share with the process that they are forked from: each image is named once.
_SAID = mmap.mmap(-1, 1 << 13)


def _say_once(path: str, sentence: str) -> None:
    place, bit = divmod(zlib.crc32(path.encode('utf-8', 'surrogateescape')) % (len(_SAID) * 8), 8)
    if not _SAID[place] >> bit & 1:
        _SAID[place] |= 1 << bit
        say(f'warning: {sentence}.')


def too_large(content: bytes) -> str | None:
    """What is wrong with an image that a few bytes make very large; None of any other."""
    # Not even a PNG has more than 8300 pixels in a byte.
    if len(content) * 8300 < _PIXELS:
        return None
    width, height = size_of(content) or (0, 0)
    if width * height > max(_PIXELS, _PIXELS_OF_A_BYTE * len(content)):
        return f'would have {width} × {height} pixels and has {len(content)} bytes'
    return None


def odd_images(folder: str | os.PathLike) -> Iterator[str]:
    """Paths of what has the name of an image in a folder and is no file, in it and one folder further down.

    The folder is listed, which tells what is a file; only links are looked at one by one.
    """
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                continue
            if entry.is_dir():
                below.append(entry.path)
            elif entry.name.lower().endswith(EXTENSIONS) and not entry.is_file():
                yield entry.path
    for path in below:
        with os.scandir(path) as entries:
            for entry in entries:
                odd = not entry.is_file(follow_symlinks=False) and entry.name.lower().endswith(EXTENSIONS)
                if odd and not entry.is_dir() and not entry.is_file():
                    yield entry.path


# What is being read in this process ('image', 'segmentation map'), and its path.
_reading: list[tuple[str, str]] = []


def guard_mmcv() -> None:
    """Put the guards before mmcv's decoder and its reader of images, once."""
    import mmcv
    from mmcv.transforms import LoadImageFromFile

    if hasattr(mmcv.imfrombytes, 'guarded'):
        return
    decode, load = mmcv.imfrombytes, LoadImageFromFile.transform

    @functools.wraps(decode)
    def imfrombytes(content, *args, **kwargs):
        wrong = too_large(content)
        if wrong:
            raise ConfigError(f'an image {wrong}; replace it, or take it out of the list.')
        image = decode(content, *args, **kwargs)
        what, path = _reading[-1] if _reading else ('', '')
        if image is None and what == 'segmentation map':  # of images the loader says it
            raise AssertionError(f'failed to load image: {path}')
        if image is not None and what and cut_off(content):
            _say_once(path, f'the {what} {path} is cut off, and what is missing is filled; copy it again')
        return image

    @functools.wraps(load)
    def transform(self, results):
        path = results.get('img_path')
        other = _other(self, path)
        if other and not self.ignore_empty:
            raise ConfigError(f'the image {path} {other}; replace it, or take it out of the list.')
        return None if other else _named(path, 'image', load, self, results)

    imfrombytes.guarded = decode
    mmcv.imfrombytes = imfrombytes
    LoadImageFromFile.transform = transform


def guard_maps() -> None:
    """Put the guards before MMDetection's readers of segmentation maps, once."""
    from mmdet.datasets.transforms import LoadAnnotations, LoadPanopticAnnotations

    _guard_reader(LoadAnnotations, '_load_seg_map')
    _guard_reader(LoadPanopticAnnotations, '_load_masks_and_semantic_segs')


def _guard_reader(loader: type, method: str) -> None:
    load = getattr(loader, method)

    @functools.wraps(load)
    def guarded(self, results):
        path = results.get('seg_map_path')
        other = _other(self, path)
        if other:
            raise ConfigError(f'the segmentation map {path} {other}; replace it, or take its image out of the list.')
        return _named(path, 'segmentation map', load, self, results)

    setattr(loader, method, guarded)


def _other(self, path) -> str | None:
    """What a loader would read in place of a file; None of a file, and of nothing, whose error has its name."""
    local = isinstance(path, str | os.PathLike) and (self.backend_args or {}).get('backend', 'local') == 'local'
    local = local and not getattr(self, 'file_client_args', None) and os.path.exists(path)
    return other_than_file(path) if local else None


def _named(path, what: str, load, self, results):
    """What a loader gives; its errors have the name of the file."""
    import cv2

    _reading.append((what, str(path)))
    try:
        return load(self, results)
    except ConfigError as error:
        raise ConfigError(str(error).replace('an image', f'the {what} {path}', 1)) from None
    except cv2.error:
        # Of an empty file. mmcv's own words for what OpenCV cannot decode.
        raise AssertionError(f'failed to load image: {path}') from None
    finally:
        _reading.pop()
