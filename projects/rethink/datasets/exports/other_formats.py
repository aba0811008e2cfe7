"""Labels in formats that are not read: what wrote them, and what to ask that tool for instead."""

from pathlib import Path
from typing import NamedTuple

from ...trust.soundness import in_place_of
from .tree import Tree

# Of a file, in which the names of its entries come early.
_BEGINNING = 1 << 16


class _Format(NamedTuple):
    """A format.

    Args:
        suffixes: of its files.
        mark: in their first 64 kB; b'' where the suffix tells.
        tool: whose it is.
        instead: what to do.
    """

    suffixes: tuple[str, ...]
    mark: bytes
    tool: str
    instead: str


_ANY = 'export COCO or Pascal VOC'
# Of two marks in one file the first counts.
_FORMATS = (
    _Format(('.json', '.jsonl', '.ndjson'), b'"data_row"', 'Labelbox', 'export COCO'),
    _Format(('.json',), b'"from_name"', "Label Studio's own JSON", 'export COCO'),
    _Format(('.json',), b'"original_width"', "Label Studio's own JSON", 'export COCO'),
    _Format(('.csv',), b'original_width', "Label Studio's own CSV", 'export COCO'),
    _Format(('.csv',), b'filename,width,height,class', "TensorFlow's CSV", _ANY),
    _Format(('.tfrecord', '.record'), b'', "TensorFlow's records", _ANY),
    _Format(('.json',), b'"shape_attributes"', 'the VGG Image Annotator', 'export its annotations as COCO'),
    _Format(('.csv',), b'region_shape_attributes', 'the VGG Image Annotator', 'export its annotations as COCO'),
    _Format(('.json',), b'"shapes"', 'labelme', 'convert it with labelme2coco, or export COCO'),
    _Format(('.json',), b'"exterior"', 'Supervisely', 'export COCO'),
    _Format(('.json',), b'"bounding_box"', 'V7 Darwin', 'export COCO'),
    _Format(('.json',), b'"label_id"', 'Datumaro', 'convert it to COCO with datumaro'),
    _Format(('.json',), b'"coordinates"', 'CreateML', _ANY),
    _Format(('.json',), b'"score"', 'a detector, its results', 'name the annotations'),
    _Format(('.xml',), b'<annotations>', "CVAT's own XML", 'export the task as COCO 1.0'),
    _Format(('.parquet',), b'', "Hugging Face's datasets", 'write its images and a COCO JSON'),
    _Format(('.jsonl',), b'"objects"', "Hugging Face's datasets", 'write a COCO JSON of it'),
)


def foreign(path: Path) -> str | None:
    """What a file is, as "of labelme, which is not read; …", by suffix and beginning; None where nothing tells."""
    left = in_place_of(path)
    if left:
        return left
    formats = [one for one in _FORMATS if path.name.lower().endswith(one.suffixes)]
    if not formats:
        return None
    with open(path, 'rb') as file:
        beginning = file.read(_BEGINNING)
    found = next((one for one in formats if one.mark in beginning), None)
    return found and f'of {found.tool}, which is not read; {found.instead}'


def first_in(tree: Tree) -> tuple[str, str] | None:
    """A file of a folder that :func:`foreign` knows, and what it is; of those of a suffix three are looked into."""
    for suffix in dict.fromkeys(('.txt', *(suffix for one in _FORMATS for suffix in one.suffixes))):
        for name in tree.ending(suffix)[:3]:
            found = foreign(tree.root / name)
            if found:
                return name, found
    return None
