"""Labels in formats that are not read: what wrote them, and what to ask that tool for instead."""

from pathlib import Path
from typing import NamedTuple

from .tree import Tree

# Of a file, in which the names of its entries come early.
_BEGINNING = 1 << 16


class Foreign(NamedTuple):
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

    def __str__(self) -> str:
        return f'of {self.tool}, which is not read; {self.instead}'


_ANY = 'export COCO or Pascal VOC'
# Of two marks in one file the first counts.
_FORMATS = (
    Foreign(('.json', '.jsonl', '.ndjson'), b'"data_row"', 'Labelbox', 'export COCO'),
    Foreign(('.json',), b'"from_name"', "Label Studio's own JSON", 'export COCO'),
    Foreign(('.json',), b'"original_width"', "Label Studio's own JSON", 'export COCO'),
    Foreign(('.csv',), b'original_width', "Label Studio's own CSV", 'export COCO'),
    Foreign(('.csv',), b'filename,width,height,class', "TensorFlow's CSV", _ANY),
    Foreign(('.tfrecord', '.record'), b'', "TensorFlow's records", _ANY),
    Foreign(('.json',), b'"shape_attributes"', 'the VGG Image Annotator', 'export its annotations as COCO'),
    Foreign(('.csv',), b'region_shape_attributes', 'the VGG Image Annotator', 'export its annotations as COCO'),
    Foreign(('.json',), b'"shapes"', 'labelme', 'convert it with labelme2coco, or export COCO'),
    Foreign(('.json',), b'"exterior"', 'Supervisely', 'export COCO'),
    Foreign(('.json',), b'"bounding_box"', 'V7 Darwin', 'export COCO'),
    Foreign(('.json',), b'"label_id"', 'Datumaro', 'convert it to COCO with datumaro'),
    Foreign(('.json',), b'"coordinates"', 'CreateML', _ANY),
    Foreign(('.json',), b'"score"', 'a detector, its results', 'name the annotations'),
    Foreign(('.xml',), b'<annotations>', "CVAT's own XML", 'export the task as COCO 1.0'),
    Foreign(('.parquet',), b'', "Hugging Face's datasets", 'write its images and a COCO JSON'),
    Foreign(('.jsonl',), b'"objects"', "Hugging Face's datasets", 'write a COCO JSON of it'),
)


def foreign(path: Path) -> Foreign | None:
    """The format of a file, by its suffix and its beginning; None of what is unknown, or read."""
    formats = [one for one in _FORMATS if path.name.lower().endswith(one.suffixes)]
    if not formats:
        return None
    with open(path, 'rb') as file:
        beginning = file.read(_BEGINNING)
    return next((one for one in formats if one.mark in beginning), None)


def first_in(tree: Tree) -> tuple[str, Foreign] | None:
    """A file of a folder that is of such a format, and which; of those of a suffix three are looked into."""
    for suffix in dict.fromkeys(suffix for one in _FORMATS for suffix in one.suffixes):
        for name in tree.ending(suffix)[:3]:
            found = foreign(tree.root / name)
            if found:
                return name, found
    return None
