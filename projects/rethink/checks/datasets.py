"""The data sets of a config, out of their wrappers, and what an annotation file says without being parsed whole."""

import contextlib
import functools
import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config_tree import is_remote
from ..datasets.annotations import Annotations, objects_of_categories, read

# train2017, where its annotations are not at hand.
COCO_IMAGES = 118_287


class AnnotationFile:
    """A COCO JSON file, of which no more is parsed than is asked for, and that once.

    COCO's training annotations are 450 MB, which take ten seconds and gigabytes to parse; the categories are some
    kilobytes of them.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = path

    @functools.cached_property
    def categories(self) -> list[dict] | None:
        """The list of this name; None where there is none."""
        return self._list('categories', 'name')

    @functools.cached_property
    def images(self) -> list[dict] | None:
        """As :attr:`categories`."""
        return self._list('images', 'file_name')

    @functools.cached_property
    def columns(self) -> Annotations:
        """Every image and object of it.

        Raises:
            ValueError: in words, it is no JSON object.
        """
        return read(self.path)

    @property
    def numbers(self) -> list[int] | None:
        """Annotations of each of :attr:`categories`; None where they cannot be read."""
        try:
            return objects_of_categories(self.columns)
        except ValueError:
            return None

    def has(self, key: str) -> bool:
        """Whether anything in it has an entry of this name, as far as its bytes tell."""
        with self._text() as text:
            return text.find(f'"{key}"'.encode()) >= 0

    @contextlib.contextmanager
    def _text(self) -> Iterator[mmap.mmap | bytes]:
        with open(self.path, 'rb') as file:
            if os.fstat(file.fileno()).st_size == 0:
                yield b''
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
                yield text

    def _list(self, key: str, field: str) -> list[dict] | None:
        """``field`` is one that all of its entries have, by which it is told from others of this name."""
        quoted = f'"{key}"'.encode()
        with self._text() as text:
            place = text.find(quoted)
            while place >= 0:
                found = _decode_list(text, place + len(quoted))
                if found is not None and all(isinstance(item, dict) and field in item for item in found):
                    return found
                place = text.find(quoted, place + 1)
        return None


def _decode_list(text: mmap.mmap | bytes, start: int) -> list | None:
    """The JSON list behind the colon at ``start``, reading no more of the file than it needs."""
    size = 1 << 16
    while True:
        chunk = text[start : start + size].decode('utf-8', errors='ignore').lstrip()
        if not chunk.startswith(':') or not chunk[1:].lstrip().startswith('['):
            return None
        try:
            return json.JSONDecoder().raw_decode(chunk[1:].lstrip())[0]
        except json.JSONDecodeError:
            if start + size >= len(text):
                return None
            size *= 4


@dataclass(frozen=True)
class Dataset:
    """A data set of a config, out of its wrappers.

    Args:
        path: its dotted name.
        cfg: its config.
        kind: its class; None where that is not registered.
        file: its annotation file; None where it names none, or it is not there.
    """

    path: str
    cfg: dict
    kind: type | None
    file: AnnotationFile | None = None

    @property
    def local(self) -> bool:
        return (self.cfg.get('backend_args') or {}).get('backend', 'local') in ('local', 'LocalBackend')

    @property
    def annotations(self) -> str | None:
        """Path of its annotation file; None where it has none."""
        named = self.cfg.get('ann_file')
        return self.join(named) if named and isinstance(named, str) else None

    def join(self, path: str) -> str:
        """A path below its ``data_root``."""
        root = self.cfg.get('data_root')
        return path if not root or os.path.isabs(path) or is_remote(path) else os.path.join(root, path)

    @property
    def prefixes(self) -> list[str]:
        """Its folders, below ``data_root``."""
        prefix = self.cfg.get('data_prefix')
        found = prefix.values() if isinstance(prefix, dict) else [prefix]
        return [one for one in found if isinstance(one, str)]

    def is_a(self, *kinds: type) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, kinds)

    @property
    def classes(self) -> list[str] | None:
        """The classes that it will have: those of its ``metainfo``, or those of its class."""
        classes = (self.cfg.get('metainfo') or {}).get('classes')
        if isinstance(classes, str):
            # MMEngine reads a file of names where there is one, and takes the text as it is otherwise.
            classes = Path(classes).read_text().split('\n') if Path(classes).is_file() else [classes]
        if classes is None:
            classes = getattr(self.kind, 'METAINFO', {}).get('classes')
        return None if classes is None else list(classes)

    @property
    def records(self) -> list[dict] | None:
        """COCO's list of images; None where the file is not there, or not one of COCO."""
        return self.file.images if self.file and self.annotations.endswith('.json') else None

    @property
    def images(self) -> int | None:
        """Their number, where it is known."""
        if self.records is not None:
            return len(self.records)
        return COCO_IMAGES if str(self.annotations).endswith('instances_train2017.json') else None


def unwrapped(dataset: dict, name: str) -> Iterator[tuple[str, dict]]:
    """The data sets inside a data set's config, with their dotted names."""
    if 'dataset' in dataset:
        yield from unwrapped(dataset['dataset'], f'{name}.dataset')
    elif isinstance(dataset.get('datasets'), list | tuple):
        for index, inner in enumerate(dataset['datasets']):
            yield from unwrapped(inner, f'{name}.datasets[{index}]')
    else:
        yield name, dataset
