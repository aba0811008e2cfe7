"""Shapes in PASCAL VOC's layout: the scenes of :mod:`rethink.datasets.shapes` as a VOC development kit.

Images and objects are those that :func:`rethink.datasets.shapes.write_detection` writes for the same arguments, so
that VOC's mAP can be put beside COCO's AP. Every second training scene goes to ``VOC2007`` (``trainval``), the others
to ``VOC2012`` (``train``), and the validation scenes to ``VOC2012`` (``val``): what a config for VOC reads after a
change of ``data_root`` and classes.

Boxes are VOC's: whole numbers, the first and the last pixel that an object touches, both of it, counted from 1. What
is a crowd in COCO's annotations is one object marked difficult. There are no masks.
"""

import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from ..files import exclusively, write_atomically
from . import shapes

# Folder and image set of the development kit -> the scenes that it holds, as split and slice of its indices.
IMAGE_SETS = {
    ('VOC2007', 'trainval'): ('train', slice(0, None, 2)),
    ('VOC2012', 'train'): ('train', slice(1, None, 2)),
    ('VOC2012', 'val'): ('val', slice(None)),
}


def annotation(year: str, name: str, size: int, objects: list[dict]) -> bytes:
    """An image's annotations as VOC's XML.

    Args:
        year: folder of the development kit, such as ``'VOC2007'``.
        name: of the image, without suffix.
        size: height and width of the image, in pixels.
        objects: as :func:`rethink.datasets.shapes.draw_scene` returns them.
    """
    root = ElementTree.Element('annotation')

    def write(parent, **values):
        for key, value in values.items():
            ElementTree.SubElement(parent, key).text = str(value)

    write(root, folder=year, filename=f'{name}.jpg')
    write(ElementTree.SubElement(root, 'size'), width=size, height=size, depth=3)
    for one in objects:
        x, y, width, height = one['bbox']
        entry = ElementTree.SubElement(root, 'object')
        write(entry, name=shapes.CLASSES[one['category_id'] - 1], difficult=one['iscrowd'])
        last = (min(size, math.ceil(end)) for end in (x + width, y + height))
        corners = (math.floor(x) + 1, math.floor(y) + 1, *last)
        write(
            ElementTree.SubElement(entry, 'bndbox'),
            **dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True)),
        )
    ElementTree.indent(root)
    return ElementTree.tostring(root)


def write_voc(root: str | Path, spec: shapes.DetectionSpec, progress: bool = True) -> bool:
    """Write the detection data set below ``root``, as ``VOC2007`` and ``VOC2012``.

    A complete data set of the same arguments is left as it is; one that a kill left half done is written again.

    Returns:
        Whether anything was written.

    Raises:
        FileExistsError: ``root`` holds a data set of other arguments, or anything that was not written here.
        ValueError: there are fewer training images than the two years need.
    """
    root = Path(root)
    if spec.train < 2:
        raise ValueError(f'shapes: train={spec.train} leaves VOC2012 without an image; take at least 2.')
    with exclusively(root.parent, wait=True):
        return _write(root, spec, progress)


def _write(root: Path, spec: shapes.DetectionSpec, progress: bool) -> bool:
    wanted = json.loads(json.dumps(dict(kind='VOC', classes=shapes.CLASSES, **asdict(spec))))
    receipt = root / 'shapes.json'
    if receipt.is_file() and json.loads(receipt.read_text()) == wanted:
        return False
    if root.exists():
        what = 'a data set with other arguments' if receipt.is_file() else 'something else'
        raise FileExistsError(f'shapes: {root} holds {what}; name another folder or delete it.')

    # Under another name until it is whole: a real development kit is never written into.
    part = root.with_name(f'{root.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    for (year, image_set), (split, which) in IMAGE_SETS.items():
        images, annotations = part / year / 'JPEGImages', part / year / 'Annotations'
        for folder in (images, annotations, part / year / 'ImageSets' / 'Main'):
            folder.mkdir(parents=True, exist_ok=True)
        names = []
        for index in shapes._progress(range(getattr(spec, split))[which], f'{year}, {image_set}', progress):
            image, objects = shapes.draw_scene(spec, split, index)
            names.append(f'{split}_{index + 1:06d}')
            shapes._write_image(images / f'{names[-1]}.jpg', image)
            (annotations / f'{names[-1]}.xml').write_bytes(annotation(year, names[-1], spec.size, objects))
        (part / year / 'ImageSets' / 'Main' / f'{image_set}.txt').write_text('\n'.join(names) + '\n')
    write_atomically(part / 'shapes.json', json.dumps(wanted).encode())
    os.rename(part, root)
    return True
