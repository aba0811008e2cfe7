"""An annotation file as columns: all that is looked at before a training, without its polygons, in little memory.

COCO's ``instances_train2017.json``, 450 MB, becomes 40 MB. A file is read by several processes in slices
(:mod:`.json_lists`), once: the columns of a large one are kept below ``~/.cache/rethink``.
"""

import contextlib
import gc
import json
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields
from enum import IntEnum, IntFlag
from hashlib import blake2b, sha256
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..errors import ConfigError
from ..files import exclusively, write_atomically
from ..files import sha256 as digest_of
from ..stopping import end_with_parent
from ..trust.soundness import in_place_of
from .boxes import is_rectangle
from .cores import cores
from .json_lists import Lists, entries

# The place of an id that is not there; below TEXT are those that are no integers.
NONE, TEXT = -(1 << 63), -(1 << 61)
# Bytes of a file from which on its columns are kept, and number of files whose columns are.
_LARGE, _KEPT = 4 << 20, 32
# LVIS's words for classes in up to 10, up to 100 and more training images.
FREQUENCIES = ('r', 'c', 'f')
# Of what is kept; another one is not read.
_VERSION = 4
# Of a column of small numbers.
_MOST = np.iinfo(np.int16).max
# A polygon whose numbers add up to more has none of an image.
_FAR = 1e8
# Of a compressed RLE.
_COUNTS = re.compile(r'[0-o]+')


class Fault(IntFlag):
    """What is wrong with an entry, by itself."""

    NO_BOX = 1
    BAD_BOX = 2  # not four numbers
    NO_AREA = 4
    BAD_AREA = 8
    NO_CROWD = 16
    BAD_CROWD = 32  # neither 0 nor 1
    IGNORED = 64  # by its own ``ignore``
    NO_NAME = 128
    NO_SIZE = 256
    BAD_SIZE = 512
    NO_KEYPOINTS = 1024
    MASK_HERE = 2048  # polygons that lie about the box
    MASK_ELSEWHERE = 4096  # and others; neither is said of long ones, whose points are not read, nor of all in a slice
    NEGATIVES = 8192  # LVIS's lists of an image, ``neg_category_ids`` and
    NOT_EXHAUSTIVE = 16384  # ``not_exhaustive_category_ids``, are there
    MASK_BOX = 32768  # polygons that are a box, and
    MASK_DRAWN = 65536  # others; of a slice as many are looked at


class Points(IntFlag):
    """What is wrong with keypoints, by themselves."""

    NO_NUMBER = 1  # null, text, NaN or infinity, but for the place of a point that is not labelled
    VISIBILITY = 2  # another one than 0, 1 and 2


class Mask(IntEnum):
    """What an object has for a mask."""

    NONE = 0  # no segmentation, or an empty one
    FLAT = 1  # a list of numbers instead of a list of polygons
    SHORT = 2  # no polygon of three points, or half an RLE
    PARTLY = 3  # some of its polygons have fewer than three points
    POLYGON = 4
    RLE = 5
    WRONG = 6  # points that are no numbers, or counts of an RLE that are not those of its size


@dataclass
class Annotations:
    """Images, objects and categories of a file, in its order.

    Ids are int64: integers as they are, :data:`NONE` where there is none, and below :data:`TEXT` a number for any
    other, which ``texts`` has. Numbers that are none are NaN.

    Args:
        path: of the file.
        categories: as they are in the file.
        texts: ids that are no integers.
        sections: names of the lists that are there.
        bom: the file begins with a byte order mark.
        image_ids: (N,).
        names, urls: of the images, N each; '' where there is none.
        sizes: width and height in pixels, float32 of (N, 2).
        image_faults: :class:`Fault`, int32 of (N,).
        ids, of_image, of_category: int64 of (M,).
        boxes: x, y, w, h in pixels as in the file, float32 of (M, 4).
        areas: float32 of (M,).
        crowd: int8 of (M,).
        faults: :class:`Fault`, int32 of (M,).
        masks: :class:`Mask`, int8 of (M,).
        mask_sizes: height and width of those that are RLE, int32 of (M, 2); 0 of others.
        keypoints: numbers in ``keypoints``, ``num_keypoints`` and labelled points, int16 of (M, 3); -1 without.
        points: :class:`Points`, int8 of (M,).
        extents: x1, y1, x2, y2 about the labelled points of each object that has such, in their order, float32 (L, 4).
        troubles: of PASCAL VOC, a kind of trouble → names of files that have it.
    """

    path: str
    categories: list[dict] = field(default_factory=list)
    texts: dict[int, object] = field(default_factory=dict)
    sections: list[str] = field(default_factory=list)
    bom: bool = False
    names: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    image_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    image_faults: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    of_image: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    of_category: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    areas: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    faults: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    masks: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    mask_sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int16))
    points: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8))
    extents: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    troubles: dict[str, list[str]] = field(default_factory=dict)

    @property
    def of_lvis(self) -> bool:
        """It says what LVIS's files alone say: which classes an image was searched for, or how frequent they are."""
        listed = (self.image_faults & (Fault.NEGATIVES | Fault.NOT_EXHAUSTIVE)) > 0
        return bool(listed.any()) or any(one.get('frequency') in FREQUENCIES for one in self.categories)

    def id_of(self, code) -> object:
        """An id as it is in the file."""
        return self.texts.get(int(code), None if code == NONE else int(code))


def objects_of_categories(a: Annotations) -> list[int]:
    """Annotations of each category, in the order of the file."""
    ids, numbers = np.unique(a.of_category, return_counts=True)
    known = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
    return [known.get(code_of(category.get('id')), 0) for category in a.categories]


# --- columns ---------------------------------------------------------------------------------------------------------


def columns_of_images(records: list) -> dict:
    """The columns of some entries of ``images``, by their names in :class:`Annotations`."""
    records, texts = _dicts(records), {}
    names = [one if isinstance(one := record.get('file_name'), str) else '' for record in records]
    urls = [one if isinstance(one := record.get('coco_url'), str) else '' for record in records]
    sizes, faults = np.empty((len(records), 2), np.float32), np.zeros(len(records), np.int32)
    for column, key in enumerate(('width', 'height')):
        sizes[:, column], absent, bad = _numbers([record.get(key, _ABSENT) for record in records])
        faults |= absent * np.int32(Fault.NO_SIZE) | bad * np.int32(Fault.BAD_SIZE)
    faults |= np.array([not name for name in names], bool) * np.int32(Fault.NO_NAME)
    for flag, key in ((Fault.NEGATIVES, 'neg_category_ids'), (Fault.NOT_EXHAUSTIVE, 'not_exhaustive_category_ids')):
        faults |= np.array([isinstance(record.get(key), list) for record in records], bool) * np.int32(flag)
    ids = _codes([record.get('id') for record in records], texts)
    return dict(image_ids=ids, names=names, urls=urls, sizes=sizes, image_faults=faults, texts=texts)


def columns_of_objects(records: list) -> dict:
    """As :func:`columns_of_images`, of some entries of ``annotations``."""
    records, texts = _dicts(records), {}
    found = {
        column: _codes([record.get(key) for record in records], texts)
        for column, key in (('ids', 'id'), ('of_image', 'image_id'), ('of_category', 'category_id'))
    }
    boxes, absent, bad = _boxes([record.get('bbox', _ABSENT) for record in records])
    faults = absent * np.int32(Fault.NO_BOX) | bad * np.int32(Fault.BAD_BOX)
    areas, absent, bad = _numbers([record.get('area', _ABSENT) for record in records])
    faults |= absent * np.int32(Fault.NO_AREA) | bad * np.int32(Fault.BAD_AREA)
    crowd, absent, bad = _numbers([record.get('iscrowd', _ABSENT) for record in records])
    bad |= ~absent & ~np.isin(crowd, (0, 1))
    faults |= absent * np.int32(Fault.NO_CROWD) | bad * np.int32(Fault.BAD_CROWD)
    faults |= np.array([bool(record.get('ignore')) for record in records], bool) * np.int32(Fault.IGNORED)
    # Python takes any text and any other number for true, as does MMDetection.
    crowd = np.where(bad, 1, np.nan_to_num(crowd)).astype(np.int8)
    if bad.any():
        for index in np.flatnonzero(bad):
            crowd[index] = bool(records[index]['iscrowd'])
    masks = np.fromiter((_mask(record.get('segmentation')) for record in records), np.int8, len(records))
    drawn = np.flatnonzero((masks == Mask.POLYGON) & np.isfinite(boxes).all(1))
    for index in drawn[:: len(drawn) // _PLACED + 1]:
        faults[index] |= _drawn(records[index]['segmentation'], records[index]['bbox'])
    mask_sizes = np.zeros((len(records), 2), np.int32)
    for index in np.flatnonzero(masks == Mask.RLE):
        mask_sizes[index] = records[index]['segmentation']['size']
    keypoints, points, extents = _keypoints(records)
    faults |= (keypoints[:, 0] < 0) * np.int32(Fault.NO_KEYPOINTS)
    return dict(
        found,
        boxes=boxes,
        areas=areas,
        crowd=crowd,
        faults=faults,
        masks=masks,
        mask_sizes=mask_sizes,
        keypoints=keypoints,
        points=points,
        extents=extents,
        texts=texts,
    )


_ABSENT = object()


def _dicts(records: list) -> list[dict]:
    return records if set(map(type, records)) <= {dict} else [one if isinstance(one, dict) else {} for one in records]


def _codes(values: list, texts: dict) -> np.ndarray:
    if set(map(type, values)) <= {int}:
        with contextlib.suppress(OverflowError):
            return np.array(values, np.int64)
    return np.array([code_of(value, texts) for value in values], np.int64)


def code_of(value, texts: dict | None = None) -> int:
    """An id as the columns have it.

    Args:
        texts: gets it where it is no integer.
    """
    if value is None:
        return NONE
    # 1.0 and 1 are the same key of a dict.
    if isinstance(value, int | float) and value == value and abs(value) < -TEXT and value == int(value):
        return int(value)
    code = 2 * TEXT - int.from_bytes(blake2b(repr(value).encode(), digest_size=7).digest(), 'big')
    if texts is not None:
        texts[code] = value if isinstance(value, str | int | float) else str(value)
    return code


def _numbers(values: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers, NaN in the place of others; which are not there, and which are no numbers."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        found = np.array(values, np.float32)
        return found, np.zeros(len(values), bool), np.zeros(len(values), bool)
    absent = np.array([value is _ABSENT for value in values], bool)
    good = np.array([isinstance(value, int | float) for value in values], bool)
    found = np.array([value if right else np.nan for value, right in zip(values, good, strict=True)], np.float32)
    return found, absent, ~absent & ~good


def _boxes(values: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    absent, bad = np.zeros(len(values), bool), np.zeros(len(values), bool)
    if set(map(type, values)) <= {list} and set(map(len, values)) <= {4}:
        flat = list(chain.from_iterable(values))
        if set(map(type, flat)) <= {int, float}:
            return np.array(flat, np.float32).reshape(-1, 4), absent, bad
    found = np.full((len(values), 4), np.nan, np.float32)
    for index, value in enumerate(values):
        if value is _ABSENT:
            absent[index] = True
        elif isinstance(value, list) and len(value) == 4 and all(isinstance(one, int | float) for one in value):
            found[index] = value
        else:
            bad[index] = True
    return found, absent, bad


def _mask(value) -> int:
    """As MMDetection's ``LoadAnnotations`` looks at it, and what pycocotools would make of its numbers."""
    if not value:
        return Mask.NONE
    if isinstance(value, dict):
        whole = isinstance(value.get('counts'), list | str) and value.get('size') is not None
        return (Mask.RLE if _fits(**value) else Mask.WRONG) if whole else Mask.SHORT
    if not isinstance(value, list) or not all(isinstance(one, list) for one in value):
        return Mask.FLAT
    if not all(map(_are_numbers, value)):
        return Mask.WRONG
    good = sum(len(one) >= 6 and len(one) % 2 == 0 for one in value)
    return Mask.POLYGON if good == len(value) else Mask.PARTLY if good else Mask.SHORT


# Overlap (IoU) with its box that a polygon has at least, whose own is it as a rule; polygons of a slice looked at.
_ABOUT, _PLACED = 0.25, 200


def _drawn(polygons: list[list], box: list) -> int:
    """Whether the polygons of an object lie about its box, and are more than a box.

    Long ones are zeros here (:mod:`.json_lists`), which lie nowhere.
    """
    if not all(map(any, polygons)):
        return Fault.MASK_DRAWN
    drawn = Fault.MASK_BOX if is_rectangle(polygons) else Fault.MASK_DRAWN
    xs, ys = [one[::2] for one in polygons], [one[1::2] for one in polygons]
    left, right, top, bottom = min(map(min, xs)), max(map(max, xs)), min(map(min, ys)), max(map(max, ys))
    x, y, w, h = box
    both = max(min(right, x + w) - max(left, x), 0) * max(min(bottom, y + h) - max(top, y), 0)
    either = (right - left) * (bottom - top) + w * h - both
    return drawn | (Fault.MASK_HERE if both > _ABOUT * either else Fault.MASK_ELSEWHERE)


def _are_numbers(values: list) -> bool:
    """Of others, and of NaN, pycocotools ends the process or asks for all memory. A sum has what any of them has."""
    try:
        return -_FAR < sum(values) < _FAR
    except TypeError:
        return False


def _fits(counts: list | str, size, **other) -> bool:
    if not isinstance(size, list) or len(size) != 2 or set(map(type, size)) != {int} or min(size) <= 0:
        return False
    if isinstance(counts, str):
        return bool(_COUNTS.fullmatch(counts))
    return set(map(type, counts)) == {int} and min(counts) >= 0 and sum(counts) == size[0] * size[1]


def _keypoints(records: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of some annotations the columns ``keypoints``, ``points`` and ``extents``; all of as many points at once."""
    values = [record.get('keypoints') for record in records]
    lengths = np.array([len(value) if isinstance(value, list) else -1 for value in values], np.int64)
    said = [record.get('num_keypoints') for record in records]
    said = [max(-1, min(number, _MOST)) if isinstance(number, int) else -1 for number in said]
    found = np.stack([lengths, np.array(said, np.int64), np.full(len(records), -1)], 1)
    points, boxes = np.zeros(len(records), np.int8), np.zeros((len(records), 4), np.float32)
    for length in np.unique(lengths[lengths >= 0]).tolist():
        rows = np.flatnonzero(lengths == length)
        flat = list(chain.from_iterable(values[row] for row in rows))
        numbers, absent, bad = _numbers(flat)
        triples = numbers.reshape(len(rows), length)[:, : length // 3 * 3].reshape(len(rows), -1, 3)
        x, y, seen = np.moveaxis(triples, 2, 0)
        labelled, known = seen > 0, np.isfinite(x) & np.isfinite(y)
        found[rows, 2] = labelled.sum(1)
        wrong = ((~known & (seen != 0)) | ~np.isfinite(seen)).any(1)
        wrong |= bad.reshape(len(rows), length).any(1) if bad.any() else False
        other = (np.isfinite(seen) & (seen != 0) & (seen != 1) & (seen != 2)).any(1)
        points[rows] = wrong * np.int8(Points.NO_NUMBER) | other * np.int8(Points.VISIBILITY)
        good = labelled & known
        for column, (values_of, least) in enumerate(((x, True), (y, True), (x, False), (y, False))):
            some = np.where(good, values_of, np.inf if least else -np.inf)
            boxes[rows, column] = some.min(1, initial=np.inf) if least else some.max(1, initial=-np.inf)
    extents = boxes[found[:, 2] > 0]
    extents[~np.isfinite(extents)] = np.nan
    return found.clip(-1, _MOST).astype(np.int16), points, extents


# --- reading ---------------------------------------------------------------------------------------------------------

_COLUMNS = {'images': columns_of_images, 'annotations': columns_of_objects}


def read(path: str | os.PathLike, workers: int | None = None, progress: bool = True) -> Annotations:
    """The columns of a COCO annotation file; of a large one, those that are kept, where the file is the same.

    The same is a file with the size and the time of its last change that it had when it was read, unless it was read
    within two seconds of that change; or one with the same SHA-256.

    Args:
        workers: processes; as many as there are cores where None.
        progress: show a bar while a large file is read.

    Raises:
        ValueError: in words, it is no JSON object.
        OSError: the file cannot be read.
    """
    size, left = os.stat(path).st_size, in_place_of(path)
    if left:
        raise ValueError(f'it is {left}')
    if size < _LARGE:
        return _read(str(path), 1, False)[0]

    def stamp() -> tuple[list[int], bool]:
        stat = os.stat(path)
        # What was changed just before may be changed again without another time.
        return [stat.st_size, stat.st_mtime_ns], abs(time.time() - stat.st_mtime) > 2

    return kept(path, stamp, lambda: _read(str(path), workers or cores(), progress), lambda: digest_of(path))


def _read(path: str, workers: int, progress: bool) -> tuple[Annotations, str]:
    lists, found = Lists(path), Annotations(path)
    parts: dict[str, list[dict]] = {key: [] for key in _COLUMNS}
    shown = progress and workers > 1 and os.environ.get('LOCAL_RANK', '0') == '0'
    bar = tqdm(total=os.path.getsize(path), desc=f'reading {path}', unit='B', unit_scale=True, disable=not shown)
    with bar, mapped(workers) as run:
        for key, columns, end in run(_slice, ((path, *one) for one in lists)):
            if key not in found.sections:
                found.sections.append(key)
            if key in parts:
                parts[key].append(columns)
            elif key == 'categories':
                found.categories += columns
            bar.update(end - bar.n)
    found.bom = lists.bom
    found.sections += [key for key, value in lists.rest.items() if value == [] and key not in found.sections]
    for columns in parts.values():
        for one in columns:
            found.texts |= one.pop('texts')
        for name in list(columns[0]) if columns else ():
            values = [one.pop(name) for one in columns]
            whole = list(chain.from_iterable(values)) if isinstance(values[0], list) else np.concatenate(values)
            # Columns one after the other: the rules look at one or two at a time.
            setattr(found, name, np.asfortranarray(whole) if isinstance(whole, np.ndarray) else whole)
    return found, lists.digest


def _slice(task: tuple[str, str, int, int]) -> tuple[str, dict | list, int]:
    path, key, start, end = task
    return key, _COLUMNS.get(key, _dicts)(entries(path, start, end, shorten=True)), end


@contextlib.contextmanager
def mapped(workers: int) -> Iterator[Callable]:
    """``map``, in order; with several workers a few tasks ahead, so that little is held."""
    if workers <= 1:
        yield map
        return
    executor = ProcessPoolExecutor(workers, initializer=_start_worker)

    def run(function, tasks):
        ahead = []
        for task in tasks:
            ahead.append(executor.submit(function, task))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        yield from (one.result() for one in ahead)

    try:
        yield run
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    end_with_parent()
    # JSON has no circles; looking for them takes a third of the time.
    gc.disable()


# --- what is kept ----------------------------------------------------------------------------------------------------


def cache_folder(path: str | os.PathLike) -> Path:
    """Where the columns of a file are kept: below ``$XDG_CACHE_HOME/rethink``, or ``~/.cache/rethink``."""
    root = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
    return root / 'rethink' / 'annotations' / sha256(os.path.realpath(path).encode()).hexdigest()[:24]


def kept(
    path: str | os.PathLike,
    stamp: Callable[[], tuple[list, bool]],
    make: Callable[[], tuple[Annotations, str]],
    digest: Callable[[], str] = str,
) -> Annotations:
    """Columns from the cache, where they are of this file; otherwise made, and kept.

    Args:
        stamp: what shows at a glance that a file is the same, and whether it shows.
        make: columns and digest.
        digest: of the file, which is asked where the stamp is another.
    """
    where = cache_folder(path)
    loaded = _load(where, path, stamp()[0])
    if loaded:
        return loaded[0]
    with contextlib.ExitStack() as held:
        # Of the processes of one training the first reads, and the others then find it.
        with contextlib.suppress(ConfigError):
            held.enter_context(exclusively(where, wait=True))
        now, sure = stamp()
        loaded = _load(where, path, now, digest)
        found, its_digest = loaded or make()
        # Of a file that was told by its digest the stamp as well, so that it is not asked again.
        if not loaded or (its_digest and sure):
            with contextlib.suppress(OSError):
                _keep(where, found, now if sure else None, its_digest)
    return found


def _keep(where: Path, found: Annotations, stamp: list | None, digest: str) -> None:
    head, arrays = dict(version=_VERSION, stamp=stamp, digest=digest), {}
    for one in fields(found):
        value = getattr(found, one.name)
        if one.name in ('names', 'urls'):
            arrays[one.name] = np.frombuffer('\0'.join(value).encode('utf-8', 'surrogatepass'), np.uint8)
        elif isinstance(value, np.ndarray):
            arrays[one.name] = value
        elif one.name != 'path':
            head[one.name] = value
    arrays['head'] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    write_atomically(where / 'columns.npz', lambda file: np.savez(file, **arrays))
    others = sorted(where.parent.glob('*/columns.npz'), key=lambda one: one.stat().st_mtime)
    for old in others[:-_KEPT]:
        old.unlink(missing_ok=True)


def _load(
    where: Path, path: str | os.PathLike, stamp: list, digest: Callable[[], str] = str
) -> tuple[Annotations, str] | None:
    """What is kept of this file, and the digest where that told it, '' where the stamp did; None of another file."""
    try:
        with np.load(where / 'columns.npz', allow_pickle=False) as content:
            head = json.loads(content['head'].tobytes())
            if head.pop('version') != _VERSION:
                return None
            same, its_digest = head.pop('stamp') == stamp, head.pop('digest')
            if not same and not (its_digest and digest() == its_digest):
                return None
            found = {name: content[name] for name in content.files if name != 'head'}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    number = len(found['image_ids'])
    for name in ('names', 'urls'):
        text = found[name].tobytes().decode('utf-8', 'surrogatepass')
        found[name] = text.split('\0') if number else []
    head['texts'] = {int(code): value for code, value in head['texts'].items()}
    return Annotations(str(path), **head, **found), '' if same else its_digest
