"""The data sets of a config, out of their wrappers, and what an annotation file says without being parsed whole."""

import contextlib
import functools
import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config_tree import is_remote, items
from ..datasets.annotations import Annotations, objects_of_categories, read

# train2017, where its annotations are not at hand.
COCO_IMAGES = 118_287
_URL = 'http://images.cocodataset.org/'


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
        return self._list('categories', ('name',))

    @functools.cached_property
    def images(self) -> list[dict] | None:
        """As :attr:`categories`; LVIS v1 has addresses (``coco_url``) and no names."""
        return self._list('images', ('file_name', 'coco_url'))

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

    def _list(self, key: str, fields: tuple[str, ...]) -> list[dict] | None:
        """All of its entries have one of ``fields``, by which it is told from others of this name."""
        quoted = f'"{key}"'.encode()
        with self._text() as text:
            place = text.find(quoted)
            while place >= 0:
                found = _decode_list(text, place + len(quoted))
                good = (isinstance(item, dict) and any(field in item for field in fields) for item in found or ())
                if found is not None and all(good):
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

    def names_of(self, images: list[dict]) -> list[str]:
        """Where the images of :attr:`records` are below their folder, as MMDetection finds them."""
        names, urls = ([str(one.get(key) or '') for one in images] for key in ('file_name', 'coco_url'))
        return names_below(names, urls, self.kind)

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


def names_below(names: list[str], urls: list[str], kind: type | None) -> list[str]:
    """Where images are below their folder.

    Args:
        names, urls: ``file_name`` and ``coco_url`` of each; '' where there is none.
        kind: of their data set.
    """
    from mmdet.datasets import LVISV05Dataset, LVISV1Dataset

    if not isinstance(kind, type) or not issubclass(kind, LVISV05Dataset):
        return names
    return of_urls(urls) if issubclass(kind, LVISV1Dataset) else of_2014(names)


def of_urls(urls: list[str]) -> list[str]:
    """As ``LVISV1Dataset`` finds images: ``val2017/000000397133.jpg``."""
    return [url.replace(_URL, '') for url in urls]


def of_2014(names: list[str]) -> list[str]:
    """As ``LVISV05Dataset`` finds images: by the names of 2017."""
    return [name[-16:] if name.startswith('COCO') else name for name in names]


def nested(dataset, name: str) -> Iterator[tuple[str, dict]]:
    """A data set's config and all that it wraps, with their dotted names; what wraps goes before what is within."""
    if isinstance(dataset, dict):
        yield name, dataset
        yield from nested(dataset.get('dataset'), f'{name}.dataset')
        for index, inner in items(dataset.get('datasets')):
            yield from nested(inner, f'{name}.datasets[{index}]')


def unwrapped(dataset: dict, name: str) -> Iterator[tuple[str, dict]]:
    """The data sets inside a data set's config, with their dotted names."""
    yield from ((place, one) for place, one in nested(dataset, name) if not {'dataset', 'datasets'} & one.keys())
