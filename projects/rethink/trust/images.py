"""Images that would stop a run: no files, or a few bytes that become gigabytes.

:func:`install`, which importing rethink calls, puts a look at both before mmcv's decoder and before the step of a
pipeline that reads images, and gives their errors the name of the file.
"""

import functools
import os
import struct
from collections.abc import Iterator
from io import BytesIO

import cv2
import mmcv
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from ..errors import ConfigError
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
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], 'big')
        if marker == 0xFF:  # fills up
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from('>HH', content, place + 5)
            return width, height
        else:
            place += 2 + length
    return None


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


def install() -> None:
    """Put the guards in place, once."""
    if hasattr(mmcv.imfrombytes, 'guarded'):
        return
    decode, load = mmcv.imfrombytes, LoadImageFromFile.transform

    @functools.wraps(decode)
    def imfrombytes(content, *args, **kwargs):
        wrong = too_large(content)
        if wrong:
            raise ConfigError(f'an image {wrong}; replace it, or take it out of the list.')
        return decode(content, *args, **kwargs)

    @functools.wraps(load)
    def transform(self, results):
        path = results.get('img_path')
        local = isinstance(path, str | os.PathLike) and (self.backend_args or {}).get('backend', 'local') == 'local'
        other = other_than_file(path) if local and self.file_client_args is None and os.path.exists(path) else None
        if other and not self.ignore_empty:
            raise ConfigError(f'the image {path} {other}; replace it, or take it out of the list.')
        if other:
            return None
        try:
            return load(self, results)
        except ConfigError as error:
            raise ConfigError(str(error).replace('an image', f'the image {path}', 1)) from None
        except cv2.error:
            # Of an empty file. mmcv's own words for what OpenCV cannot decode.
            raise AssertionError(f'failed to load image: {path}') from None

    imfrombytes.guarded = decode
    mmcv.imfrombytes = imfrombytes
    LoadImageFromFile.transform = transform
