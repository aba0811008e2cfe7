"""Mean and standard deviation of the pixels of an image folder, for the normalisation that pre-training uses.

Over all pixels of all images, so that an image weighs what it has of them; the deviation is that of the population
(divided by N). Images are decoded as MMCV's ``LoadImageFromFile`` does it for a training: 8 bit, three channels, grey
repeated, transparency dropped, turned as EXIF says; they are not resized. Sums and sums of squares are integers, so
the result does not depend on the order of the images or the number of processes.
"""

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import ConfigError
from ..files import write_atomically
from ..stopping import end_with_parent
from ..trust.images import EXTENSIONS
from ..trust.soundness import check_kind

# Images that a process takes at a time, and seconds between two states on disk.
_CHUNK, _SAVE = 8, 10


@dataclass
class Statistics:
    """Sums over the pixels of some images, in values from 0 to 255 and the order R, G, B.

    Args:
        images: that were decoded.
        pixels: in each channel.
        sums, squares: of the values and of their squares, exact.
        corrupt: paths of images that could not be decoded, and are in none of the sums.
    """

    images: int = 0
    pixels: int = 0
    sums: list[int] = field(default_factory=lambda: [0, 0, 0])
    squares: list[int] = field(default_factory=lambda: [0, 0, 0])
    corrupt: list[str] = field(default_factory=list)

    @property
    def mean(self) -> list[float]:
        return [total / self.pixels for total in self.sums]

    @property
    def std(self) -> list[float]:
        # In integers up to the division: the difference of two large numbers would lose digits.
        spread = [self.pixels * square - total * total for total, square in zip(self.sums, self.squares, strict=True)]
        return [math.sqrt(one / self.pixels**2) for one in spread]

    def add(self, path: str, found: tuple | None) -> None:
        """Count one image: what :func:`measure` found."""
        if found is None:
            self.corrupt.append(path)
            return
        pixels, sums, squares = found
        self.images += 1
        self.pixels += pixels
        self.sums = [one + more for one, more in zip(self.sums, sums, strict=True)]
        self.squares = [one + more for one, more in zip(self.squares, squares, strict=True)]


def find_images(folder: str | os.PathLike) -> list[str]:
    """Paths of all images below a folder, relative to it, sorted.

    Raises:
        ConfigError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f'there is no folder {folder}; name one that has images.')
    found = [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS) and not name.startswith('.')
    ]
    if not found:
        raise ConfigError(f'{folder} has no image ({", ".join(EXTENSIONS)}); name a folder that has.')
    return sorted(found)


def decode(path: str | os.PathLike) -> np.ndarray | None:
    """An image as a training reads it, uint8 BGR of (H, W, 3), or None for a file that is not a whole image.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    import mmcv  # which imports PyTorch

    check_kind(path, 'the image')
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f'{path} cannot be read ({error.strerror}); download it again or correct the list.'
        ) from None
    try:
        return mmcv.imfrombytes(content, flag='color', channel_order='bgr', backend='cv2')
    except (cv2.error, ConfigError):  # of an empty or a far too large image; of most others it is None
        return None


def measure(path: str | os.PathLike) -> tuple[int, list[int], list[int]] | None:
    """Number of pixels, sums and sums of squares (R, G, B) of an image; None where it cannot be decoded."""
    image = decode(path)
    if image is None:
        return None
    # Exact: OpenCV adds integers, and what it returns is a float64 of less than 2**53.
    sums = [round(value) for value in cv2.sumElems(image)[:3]]
    squares = [round(cv2.norm(channel, cv2.NORM_L2SQR)) for channel in cv2.split(image, _planes(*image.shape[:2]))]
    return image.shape[0] * image.shape[1], sums[::-1], squares[::-1]


@lru_cache(maxsize=1)
def _planes(height, width):
    # New memory for each image takes as long as all that is computed in it; many data sets have one size.
    return [np.empty((height, width), np.uint8) for _ in range(3)]


def scan(
    root: str | os.PathLike,
    paths: Sequence[str],
    corrupt: str = 'refuse',
    workers: int = 1,
    state: str | os.PathLike | None = None,
    progress: bool = True,
) -> Statistics:
    """Decode images and add up their pixels.

    Args:
        root: what ``paths`` are relative to.
        corrupt: ``'refuse'`` to end at an image that cannot be decoded, ``'skip'`` to list it and go on.
        workers: processes.
        state: file that keeps what was added up so far. A scan of the same paths that was stopped goes on from it; it
            is gone when the scan is done.
        progress: show a bar with the time left.

    Raises:
        ConfigError: there is nothing to decode, a file cannot be read, or an image cannot be decoded and is refused.
    """
    if not paths:
        raise ConfigError(f'the list of images in {root} is empty, so there is nothing to decode.')
    # What a scan with 'skip' left behind must not let one with 'refuse' pass.
    content = json.dumps([str(root), corrupt, list(paths)])
    key = hashlib.sha256(content.encode()).hexdigest()
    done, found = _read_state(state, key)
    saved = time.monotonic()
    rest = paths[done:]
    with (
        _measured([os.path.join(root, path) for path in rest], workers) as results,
        _bar(len(paths), done, progress) as bar,
    ):
        try:
            for path, one in zip(rest, results, strict=True):
                if one is None and corrupt == 'refuse':
                    raise ConfigError(
                        f'{os.path.join(root, path)} cannot be decoded, it may be half-written; replace it, or leave '
                        'such images out with --corrupt skip.'
                    )
                found.add(path, one)
                done += 1
                bar.update()
                if state and time.monotonic() - saved > _SAVE:
                    _write_state(state, key, done, found)
                    saved = time.monotonic()
        except BaseException:
            if state:
                _write_state(state, key, done, found)
            raise
    if state:
        Path(state).unlink(missing_ok=True)
    if not found.images:
        raise ConfigError(f'none of the {len(paths)} images in {root} can be decoded; are they images?')
    return found


def _bar(total, done, shown):
    # In a file, a line every half minute is enough.
    every = 0.5 if sys.stderr.isatty() else 30
    return tqdm(total=total, initial=done, desc='decoding', unit='image', mininterval=every, disable=not shown)


@contextmanager
def _measured(paths: list[str], workers: int) -> Iterator[Iterator]:
    """The result of :func:`measure` for each path, in order; computed ahead where there are several workers."""
    if workers <= 1:
        yield map(measure, paths)
        return
    executor = ProcessPoolExecutor(workers, initializer=_start_worker)
    try:
        # Not all at once: a million of them take a while to queue, and as long to let go of.
        yield (one for part in _parts(paths, 512 * workers) for one in executor.map(measure, part, chunksize=_CHUNK))
    finally:
        executor.shutdown(cancel_futures=True)


def _parts(paths, size):
    return (paths[start : start + size] for start in range(0, len(paths), size))


def _start_worker():
    end_with_parent()
    cv2.setNumThreads(0)


def _read_state(path, key) -> tuple[int, Statistics]:
    try:
        state = json.loads(Path(path).read_bytes()) if path else {}
    except (OSError, ValueError):
        state = {}
    return (state['done'], Statistics(**state['found'])) if state.get('key') == key else (0, Statistics())


def _write_state(path, key, done, found):
    write_atomically(path, json.dumps(dict(key=key, done=done, found=vars(found))).encode())


def write(path: str | os.PathLike, found: Statistics) -> None:
    """Write the numbers as JSON, with the sums that they come from."""
    content = dict(mean=found.mean, std=found.std, **vars(found))
    write_atomically(path, json.dumps(content, indent=1).encode())
