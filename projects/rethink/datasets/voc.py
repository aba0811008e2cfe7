"""PASCAL VOC's layout as columns: an image set, and a file of XML for each of its images."""

import os
from collections.abc import Sequence
from hashlib import sha256
from itertools import islice
from xml.etree import ElementTree

import numpy as np
from tqdm import tqdm

from ..trust.soundness import other_than_file
from .annotations import Annotations, Fault, Mask, columns_of_images, kept, mapped
from .cores import cores

# Files that a process reads at a time, and number of them from which on several processes read and columns are kept.
_CHUNK, _MANY = 250, 1000
# Troubles of a file, at the first of which MMDetection's reader ends.
NO_XML, BAD_SIZE, BAD_OBJECT, NO_SIZE = 'is not XML', 'a size that is no number', 'an object', 'no size'
OTHER = 'another root'


def read(image_set: str, folder: str, names: Sequence[str], workers: int | None = None) -> Annotations:
    """Images and objects of an image set.

    Objects that are marked difficult are crowds; boxes are what MMDetection makes of corners: it takes 1 from each.
    Categories have the names of objects, with ids from 1 in their order; areas are those of boxes.

    Args:
        image_set: names the result.
        folder: of the XML files.
        names: of the images; the files are there.
    """

    def stamp() -> tuple[list, bool]:
        wanted, digest = set(names), sha256('\n'.join(names).encode())
        with os.scandir(folder) as entries:
            found = [(one.name, one.stat()) for one in entries if one.name.removesuffix('.xml') in wanted]
        for name, stat in sorted(found, key=lambda one: one[0]):
            digest.update(f'{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n'.encode())
        return [digest.hexdigest()], True

    def make() -> tuple[Annotations, str]:
        return _read(image_set, folder, names, workers or cores()), ''

    return kept(image_set, stamp, make) if len(names) >= _MANY else _read(image_set, folder, names, 1)


def _read(image_set: str, folder: str, names: Sequence[str], workers: int) -> Annotations:
    parts, rest = [], iter(names)
    chunks = iter(lambda: list(islice(rest, _CHUNK)), [])
    shown = workers > 1 and os.environ.get('LOCAL_RANK', '0') == '0'
    bar = tqdm(total=len(names), desc=f'reading {folder}', unit='file', delay=3, disable=not shown)
    with bar, mapped(workers) as run:
        for part in run(_chunk, ((folder, chunk) for chunk in chunks)):
            parts += part
            bar.update(len(part))
    sizes, objects, troubles = [], [], {}
    for index, (name, (size, found, trouble)) in enumerate(zip(names, parts, strict=True)):
        sizes.append(size)
        objects += [(index, *one) for one in found]
        for kind, words in trouble:
            troubles.setdefault(kind, []).append(f'{name}.xml{words}')
    classes = sorted({one[1] for one in objects})
    ids = {name: index + 1 for index, name in enumerate(classes)}
    images = columns_of_images(
        [
            dict(id=index, file_name=name, width=width, height=height)
            for index, (name, (width, height)) in enumerate(zip(names, sizes, strict=True))
        ]
    )
    number = len(objects)
    corners = np.array([one[2:6] for one in objects], np.float32).reshape(-1, 4)
    boxes = np.hstack([corners[:, :2] - 1, corners[:, 2:] - corners[:, :2]])
    return Annotations(
        image_set,
        categories=[dict(id=ids[name], name=name) for name in classes],
        sections=['images', 'annotations', 'categories'],
        ids=np.arange(number) + 1,
        of_image=np.array([one[0] for one in objects], np.int64),
        of_category=np.array([ids[one[1]] for one in objects], np.int64),
        boxes=np.asfortranarray(boxes),
        areas=boxes[:, 2] * boxes[:, 3],
        crowd=np.array([one[6] for one in objects], np.int8),
        faults=np.full(number, Fault.NO_KEYPOINTS, np.int32),
        masks=np.full(number, Mask.NONE, np.int8),
        mask_sizes=np.zeros((number, 2), np.int32),
        keypoints=np.full((number, 3), -1, np.int16),
        troubles=troubles,
        **images,
    )


def _chunk(task: tuple[str, list[str]]) -> list:
    folder, names = task
    return [_file(os.path.join(folder, f'{name}.xml')) for name in names]


def _file(path: str) -> tuple[tuple[float | None, float | None], list[tuple], list[tuple[str, str]]]:
    """Size; name, corners and difficulty of objects; kinds of trouble and words about each."""
    other = other_than_file(path)
    try:
        root = None if other else ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:  # also of encodings, such as GB2312
        other = str(error)
    if other:
        return (None, None), [], [(NO_XML, f': {other}')]
    if root.tag != 'annotation':
        return (None, None), [], [(OTHER, f': {root.tag}')]
    troubles, size, objects = [], (None, None), []
    given = root.find('size')
    if given is None:
        troubles.append((NO_SIZE, ''))
    else:
        try:
            size = int(given.findtext('width')), int(given.findtext('height'))
            if min(size) <= 0:
                raise ValueError
        except (TypeError, ValueError):
            size = None, None
            troubles.append((BAD_SIZE, ''))
    for index, one in enumerate(root.findall('object')):
        name, box, difficult = one.findtext('name'), one.find('bndbox'), one.find('difficult')
        try:
            corners = [int(float(box.findtext(key))) for key in ('xmin', 'ymin', 'xmax', 'ymax')]
            hard = 0 if difficult is None else int(difficult.text)
        except (AttributeError, TypeError, ValueError, OverflowError):
            name = None
        if name is None:
            troubles.append((BAD_OBJECT, f' (object {index + 1})'))
        else:
            objects.append((name, *corners, bool(hard)))
    return size, objects, troubles
