"""From what a reader found in an export to COCO's JSON, with everything that is changed or left out said.

A reader gives :class:`Raw`: pictures with the objects that the labels say. :func:`finish` looks at each image's
header, puts boxes and outlines in order, and writes a file as MMDetection and pycocotools read it; where nothing had
to be changed in a COCO file of the user's, that file itself is taken.
"""

import functools
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from ...errors import ConfigError, some_names
from ...files import write_together
from ...trust.images import file_cut_off
from ...trust.soundness import in_place_of, other_than_file
from ..boxes import RECTANGLES, Reading, is_rectangle, meant
from ..class_names import ALIKE, alike

# More than this share of the images or of the objects is not left out: then the data are half copied, or are not what
# they were taken for. Outlines of this share may be absent, and boxes stand for them.
LEFT_OUT, WITHOUT_OUTLINE = 0.1, 0.05
# What OpenCV, with which MMCV decodes, and Pillow both read.
_FORMATS = ('JPEG', 'MPO', 'PNG', 'BMP', 'TIFF', 'WEBP', 'PPM')
# Begins the files that are written here, so that no other is overwritten, and none of them is taken for an export.
MARK = b'{"info": {"description": "written by rethink.datasets.exports"'


@dataclass(frozen=True)
class Labelled:
    """A labelled data set, whatever wrote it, as one COCO JSON and a folder of images.

    Args:
        annotations: COCO JSON: written, or the user's own where that is right as it is.
        images: folder that ``file_name`` in it is relative to.
        kind: what wrote it, one of :data:`rethink.datasets.exports.KINDS`.
        classes: names of the categories, in the order of the file, which is that of the labels in MMDetection.
        has_masks: all objects have polygons or RLE.
        number: of images.
        said: sentences about what was found, changed or left out.
    """

    annotations: Path
    images: Path
    kind: str
    classes: tuple[str, ...]
    has_masks: bool
    number: int
    said: tuple[str, ...]


@dataclass(slots=True)
class Object:
    """An object as its labels say.

    Args:
        name: of its class.
        box: x, y, width, height in pixels; None where there is none and the outline tells.
        segmentation: polygons or RLE in COCO's form; None where there is none.
        crowd: neither wanted nor wrong: COCO's crowd, VOC's difficult.
        area: in square pixels, as its file says; None where it does not.
        more: other entries of its annotation.
    """

    name: str
    box: list[float] | None
    segmentation: list | dict | None = None
    crowd: bool = False
    area: float | None = None
    more: dict = field(default_factory=dict)


@dataclass(slots=True)
class Picture:
    """An image as its labels say.

    Args:
        path: below the folder of images, with ``/``.
        size: width and height in the labels; None where they do not say.
        more: other entries of its record.
    """

    path: str
    size: tuple[int, int] | None
    objects: list[Object] = field(default_factory=list)
    more: dict = field(default_factory=dict)


class Notes:
    """What is said of a data set: sentences with a number and the first names, in the order in which they came up."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self.lost = Counter()
        self.changed = False

    def remark(self, what: str, *names: str) -> None:
        """Something that is as it was."""
        self._names.setdefault(what, []).extend(names)

    def change(self, what: str, *names: str) -> None:
        """Something that is not as it was in the user's file."""
        self.changed = True
        self.remark(what, *names)

    def lose(self, unit: str, what: str, *names: str) -> None:
        """Something that is left out; ``unit`` is ``'images'`` or ``'objects'``."""
        self.lost[unit] += len(names)
        self.change(f'{what} are left out', *names)

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(
            f'{what}: {len(names)} ({some_names(dict.fromkeys(names))}).' if names else f'{what}.'
            for what, names in self._names.items()
        )

    def refuse_many(self, unit: str, kept: int, where: Path) -> None:
        lost = self.lost[unit]
        if lost > LEFT_OUT * (lost + kept) or (lost and not kept):
            why = '; '.join(one[:-1] for one in self.sentences if ' are left out: ' in one)
            raise ConfigError(
                f'{where}: {lost} of {lost + kept} {unit} cannot be used, more than a tenth ({why}); complete or '
                'correct the data.'
            )


@dataclass
class Raw:
    """What a reader found.

    Args:
        where: file or folder that was read, for sentences.
        base: folder that the paths of the pictures are below.
        classes: in the order that the labels have, or by name.
        readings: what else the boxes of such labels may mean.
        own: COCO file that it is all from, as it should be if nothing is changed.
        numbered: image, annotation and category ids are as they should be; otherwise all are counted from 1.
    """

    kind: str
    where: Path
    base: Path
    classes: list[str]
    pictures: list[Picture]
    notes: Notes
    readings: tuple[Reading, ...] = ()
    own: Path | None = None
    numbered: bool = False


def progress(items: Iterable, what: str, number: int) -> Iterator:
    """A progress bar where there is something to wait for."""
    return tqdm(items, what, number, disable=number < 2000)


# --- images ----------------------------------------------------------------------------------------------------------


_NO_IMAGE = 'Files that are not images, or not whole ones,'


def header(path: Path) -> tuple[tuple[int, int], int] | str:
    """Width and height as stored, and the EXIF orientation from 1 to 8; or what is wrong with the file."""
    other = other_than_file(path)
    if other:
        return f'Images that cannot be read ({other})'
    try:
        if file_cut_off(path):
            return _NO_IMAGE
    except OSError as error:
        return f'Images that cannot be read ({error.strerror})'
    # A header is read, and no pixel: Pillow's limit of their number is not for this.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            if image.format not in _FORMATS:
                return f'Images of the format {image.format}, which MMDetection does not read,'
            size, tags = image.size, Image.Exif()
            if image.format == 'TIFF':  # whose size Pillow gives as turned
                tags = image.tag_v2
                size = tags[0x100], tags[0x101]
            elif image.info.get('exif'):  # Image.getexif would decode a PNG
                tags.load(image.info['exif'])
            orientation = tags.get(0x112, 1)
            if orientation not in range(2, 9):
                return size, 1
            if not _turns('JPEG' if image.format == 'MPO' else image.format):
                return f'Images of the format {image.format} that EXIF turns and MMDetection does not'
            return size, orientation
    except Exception:  # Pillow raises what its decoders do
        left = in_place_of(path)
        return f'Files that are {left},' if left else _NO_IMAGE
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@functools.cache
def _turns(kind: str) -> bool:
    """Whether MMCV turns images of a format as their EXIF says, which depends on the version of OpenCV."""
    import mmcv  # which imports PyTorch

    file, exif = BytesIO(), Image.Exif()
    exif[0x112] = 6
    Image.new('RGB', (16, 8)).save(file, kind, exif=exif)
    return mmcv.imfrombytes(file.getvalue()).shape[:2] == (16, 8)


def turn(one: Object, stored: tuple[int, int], orientation: int) -> None:
    """Turn an object that was drawn on the image as stored to how MMCV and viewers show it.

    Args:
        stored: width and height.
        orientation: of EXIF, 5 to 8, those that swap width and height.
    """
    width, height = stored

    def point(x, y):
        across, down = (height - y, width - x)
        return (across if orientation in (6, 7) else y), (down if orientation in (7, 8) else x)

    if one.box:
        x, y, w, h = one.box
        (x1, y1), (x2, y2) = point(x, y), point(x + w, y + h)
        one.box = [min(x1, x2), min(y1, y2), h, w]
    if isinstance(one.segmentation, list):
        one.segmentation = [
            [value for x, y in zip(part[::2], part[1::2], strict=True) for value in point(x, y)]
            for part in one.segmentation
        ]
    elif one.segmentation:
        mask = coco_mask.decode(_rle(one.segmentation)).T
        mask = mask[:, ::-1] if orientation in (6, 7) else mask
        mask = mask[::-1] if orientation in (7, 8) else mask
        one.segmentation = _text(coco_mask.encode(np.asfortranarray(mask)))


def _look(picture: Picture, base: Path, notes: Notes) -> tuple[int, int] | None:
    """Width and height of an image as MMDetection loads it, its objects turned with it; None: it is left out."""
    found = header(base / picture.path)
    if isinstance(found, str):
        notes.lose('images', found, picture.path)
        return None
    stored, orientation = found
    shown = stored[::-1] if orientation >= 5 else stored
    if picture.size is None or not all(picture.size):
        notes.changed = True
    elif orientation >= 5 and picture.size == stored != shown:
        notes.change(
            'Images that EXIF turns, as MMDetection does when it reads them, with labels that were drawn on them as '
            'they are stored, are given labels turned with them',
            picture.path,
        )
        for one in picture.objects:
            turn(one, stored, orientation)
            if one.more.pop('keypoints', None):
                notes.change('Keypoints of images that are turned are not kept', picture.path)
        return shown
    elif picture.size != shown:
        notes.lose(
            'images',
            'Images that have another size than their labels say, whose boxes may mean anything,',
            picture.path,
        )
        return None
    if orientation > 1:
        sure = orientation >= 5 and picture.size == shown != stored
        notes.remark(
            'Images that EXIF turns, as MMDetection does when it reads them; the size in their labels is that of the '
            'turned image'
            if sure
            else 'Images that EXIF turns, as MMDetection does when it reads them; their labels are taken to be of the '
            'turned image, as it is shown, and nothing tells whether they are (look at some)',
            picture.path,
        )
    return shown


# --- objects ---------------------------------------------------------------------------------------------------------


def _rle(segmentation: dict) -> dict:
    if isinstance(segmentation['counts'], list):
        return coco_mask.frPyObjects(segmentation, *segmentation['size'])
    return segmentation


def _text(rle: dict) -> dict:
    return dict(size=list(map(int, rle['size'])), counts=rle['counts'].decode())


def _outline(one: Object, size: tuple[int, int], where: str, notes: Notes) -> None:
    """Leave of an outline what MMDetection can make a mask of."""
    found = one.segmentation
    if not found:
        one.segmentation = None
        return
    if isinstance(found, dict):
        good = isinstance(found.get('counts'), list | str) and found.get('size') == [size[1], size[0]]
        if not good:
            notes.change('Outlines that are no RLE of their image are not used', where)
            one.segmentation = None
        return
    if not isinstance(found, list):
        notes.change('Outlines that are neither polygons nor RLE are not used', where)
        one.segmentation = None
        return
    if all(isinstance(value, int | float) for value in found):
        notes.change('Polygons that are not a list of parts are made one', where)
        found = [found]
    parts = [part for part in found if isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0]
    parts = [part for part in parts if all(isinstance(v, int | float) and math.isfinite(v) for v in part)]
    if len(parts) < len(found):
        notes.change('Parts of outlines that have fewer than three points, or no numbers, are not used', where)
    one.segmentation = parts or None


def _area(segmentation: list | dict) -> float:
    if isinstance(segmentation, dict):
        return float(coco_mask.area(_rle(segmentation)))
    total = 0.0
    for part in segmentation:
        x, y = np.reshape(part, (-1, 2)).T
        total += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return total


def _box(segmentation: list | dict) -> list[float]:
    if isinstance(segmentation, dict):
        return coco_mask.toBbox(_rle(segmentation)).tolist()
    points = np.concatenate([np.reshape(part, (-1, 2)) for part in segmentation])
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def _tidy(one: Object, size: tuple[int, int], where: str, notes: Notes) -> bool:
    """Bring an object into the form that MMDetection trains on; False: it is left out."""
    width, height = size
    _outline(one, size, where, notes)
    if one.box is None and one.segmentation:
        notes.change('Objects without a box get that of their outline', where)
        one.box = _box(one.segmentation)
    if one.box is None or not all(map(math.isfinite, one.box)):
        notes.lose('objects', 'Objects whose box is not four numbers', where)
        return False
    x, y, w, h = one.box
    if min(w, h) < 0:
        notes.lose('objects', 'Boxes with a negative width or height', where)
        return False
    if min(w, h) < 1:
        what = 'Boxes without an area (less than a pixel wide or high), which MMDetection does not train on,'
        notes.lose('objects', what, where)
        return False
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if x2 - x1 < 1 or y2 - y1 < 1:
        notes.lose('objects', 'Boxes outside of their image', where)
        return False
    # MMDetection cuts boxes at the border itself, also those that reach beyond it by a pixel of rounding.
    if max(x1 - x, y1 - y, x + w - x2, y + h - y2) > 1:
        notes.change('Boxes that reach beyond their image by more than a pixel are cut at its border', where)
        one.box, one.area = [x1, y1, x2 - x1, y2 - y1], one.area if one.segmentation else None
    if not one.area or not math.isfinite(one.area) or one.area < 0:
        notes.changed = True
        one.area = (_area(one.segmentation) if one.segmentation else 0) or one.box[2] * one.box[3]
    return True


def _refuse_other_boxes(raw: Raw, pictures: list[Picture]) -> None:
    """Before boxes are cut at the border of their image, which would make boxes of anything."""
    known = [(one.box, picture.size) for picture in pictures for one in picture.objects if one.box]
    known = [(box, size) for box, size in known if all(map(math.isfinite, box))]
    boxes = np.array([box for box, _ in known], float).reshape(-1, 4)
    sizes = np.array([size for _, size in known], float).reshape(-1, 2)
    if len(boxes) and boxes.max() <= 1 < sizes.min():
        raise ConfigError(
            f'{raw.where}: the {len(boxes)} boxes lie between 0 and 1, as parts of the image, and {raw.kind} has '
            'pixels; export it again, or multiply them.'
        )
    other = meant(boxes, sizes, raw.readings)
    if other:
        reading, reaching = other
        raise ConfigError(
            f'{raw.where}: {reaching} of {len(boxes)} boxes reach out of their images as {raw.kind} has them, and as '
            f'{reading.words} all fit; {reading.fix}, or export it again.'
        )


def _without_twins(picture: Picture, notes: Notes) -> list[Object]:
    seen, kept = {}, []
    for one in picture.objects:
        same = seen.setdefault((one.name, *one.box), [])
        if one.segmentation in same:
            notes.lose('twins', 'Objects that are in their image twice, the same box and class,', picture.path)
        else:
            kept.append(one)
        same.append(one.segmentation)
    return kept


# --- the whole -------------------------------------------------------------------------------------------------------


def finish(raw: Raw, out: Path, name: str) -> Labelled:
    """Look at images and objects, and write ``<out>/<name>.json``, unless the user's own file is right as it is.

    Raises:
        ConfigError: more than a tenth of the images or objects cannot be used, or nothing is left.
    """
    notes, kept, objects = raw.notes, [], 0
    for picture in progress(raw.pictures, 'images', len(raw.pictures)):
        size = _look(picture, raw.base, notes)
        if size is None:
            continue
        picture.size = size
        kept.append(picture)
    _refuse_other_boxes(raw, kept)
    for picture in kept:
        picture.objects = [one for one in picture.objects if _tidy(one, picture.size, picture.path, notes)]
        picture.objects = _without_twins(picture, notes)
        objects += len(picture.objects)
    notes.refuse_many('images', len(kept), raw.where)
    notes.refuse_many('objects', objects, raw.where)
    if not objects:
        raise ConfigError(f'{raw.where} has {len(kept)} images and no object; label some, or name another folder.')
    has_masks = _fill_outlines(kept, objects, notes)
    counts = Counter(one.name for picture in kept for one in picture.objects)
    _say_classes(raw.classes, counts, notes)
    empty = [picture.path for picture in kept if not picture.objects]
    if empty:
        what = 'Images without an object, which MMDetection leaves out of training and evaluates on'
        notes.remark(what, *empty)
    crowds = [picture.path for picture in kept for one in picture.objects if one.crowd]
    if crowds:
        notes.remark('Objects marked difficult or as a crowd, neither trained on nor counted in evaluation', *crowds)
    annotations = raw.own
    if raw.own is None or notes.changed or not raw.numbered:
        annotations = out / f'{name}.json'
        write_ours({annotations: _content(raw, kept)})
        if raw.own is not None:
            notes.remark(f'{raw.own} stays as it is; what is read is {annotations}')
    named = ', '.join(raw.classes[:4]) + (f' and {len(raw.classes) - 4} more' if len(raw.classes) > 4 else '')
    found = f'{raw.kind}: {len(kept)} images, {objects} objects{" with outlines" if has_masks else ""} ({named})'
    classes = tuple(raw.classes)
    return Labelled(annotations, raw.base, raw.kind, classes, has_masks, len(kept), (f'{found}.', *notes.sentences))


def _fill_outlines(kept: list[Picture], objects: int, notes: Notes) -> bool:
    bare = [(one, picture.path) for picture in kept for one in picture.objects if not one.segmentation]
    if len(bare) > WITHOUT_OUTLINE * objects:
        if len(bare) < objects:
            what = f'Objects without an outline, too many of {objects} for masks, so that boxes alone are used'
            notes.remark(what, *(where for _, where in bare))
        return False
    boxes = [picture.path for picture in kept for one in picture.objects if is_rectangle(one.segmentation)]
    if len(boxes) > RECTANGLES * (objects - len(bare)):
        what = 'Outlines that are rectangles, which would teach masks no more than boxes, so that boxes alone are used'
        notes.remark(what, *boxes)
        return False
    if len(boxes) > (1 - RECTANGLES) * objects:
        notes.remark('Outlines that are rectangles, beside others that are none: masks learn them as they are', *boxes)
    for one, where in bare:
        notes.change('Objects without an outline get their box as one', where)
        x, y, w, h = one.box
        one.segmentation = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return True


def _say_classes(classes: list[str], counts: Counter, notes: Notes) -> None:
    empty = [name for name in classes if not counts[name]]
    if empty:
        notes.remark('Classes without an object', *empty)
    twins = sorted(sum(alike(classes), []), key=classes.index)
    if twins:
        notes.remark(f'Classes whose names {ALIKE}, and which may be meant as one', *twins)


def _content(raw: Raw, kept: list[Picture]) -> dict:
    ids = {name: index for index, name in enumerate(raw.classes, 1)}
    images, annotations = [], []
    for index, picture in enumerate(kept, 1):
        width, height = picture.size
        record = dict(id=index, file_name=picture.path, width=width, height=height)
        images.append(picture.more | record)
        for one in picture.objects:
            entry = dict(id=len(annotations) + 1, image_id=index, category_id=ids[one.name])
            entry |= dict(bbox=one.box, area=one.area, iscrowd=int(one.crowd))
            entry |= dict(segmentation=one.segmentation) if one.segmentation else {}
            annotations.append(one.more | entry)
    categories = [dict(id=index, name=name) for name, index in ids.items()]
    return dict(images=images, annotations=annotations, categories=categories)


def is_ours(path: str | os.PathLike) -> bool:
    """Whether a file was written here."""
    try:
        with open(path, 'rb') as file:
            return file.read(len(MARK)) == MARK
    except OSError:
        return False


def write_ours(files: dict[Path, dict]) -> None:
    """Write COCO files together, over older ones that were written here.

    Raises:
        ConfigError: one of them is there and was not written here.
    """
    for path in files:
        if path.exists() and not is_ours(path):
            raise ConfigError(f'{path} is there and was not written by this tool; name another folder, or move it.')
    info = json.loads(MARK + b'}}')
    write_together({path: json.dumps(info | content | info).encode() for path, content in files.items()})
