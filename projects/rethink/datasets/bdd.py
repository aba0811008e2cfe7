"""BDD100K's boxes as COCO's JSON, with 10,000 of the official training images held out (HPT, detection).

Yu et al. 2020, https://arxiv.org/abs/1805.04687. Three layouts of labels are read, the first that is there:

    labels/bdd100k_labels_images_{train,val}.json    of 2018: a list of images, each with `labels`
    labels/det_20/det_{train,val}.json               of 2020: the same, three of the classes with other names
    labels/100k/{train,val}/<image>.json             before: a file for each image, with `frames` of `objects`

In all of them a box is ``box2d = dict(x1=…, y1=…, x2=…, y2=…)``, in pixels from the image's upper left corner. Lanes
and drivable areas have no box and are passed over.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from ..errors import ConfigError, some_names
from ..files import exclusively, write_together
from ..trust.soundness import check_kind

# The order of the release of 2018.
CLASSES = ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motor', 'bike', 'traffic light', 'traffic sign')
_OTHER_NAMES = dict(pedestrian='person', motorcycle='motor', bicycle='bike')
_LAYOUTS = ('labels/bdd100k_labels_images_{}.json', 'labels/det_20/det_{}.json', 'labels/100k/{}')


# --- reading ---------------------------------------------------------------------------------------------------------


def items_of(path: Path, progress: bool = True, chunk: int = 1 << 24) -> Iterator[dict]:
    """The items of a JSON file that is a list, one at a time: BDD100K's is above a gigabyte.

    Args:
        chunk: characters that are read at once.

    Raises:
        ConfigError: it is no list, or ends before the list does.
    """
    decoder = json.JSONDecoder()
    bar = tqdm(total=path.stat().st_size, desc=path.name, unit='B', unit_scale=True, disable=not progress)
    with open(path, encoding='utf-8') as file, bar:
        text = file.read(chunk)
        bar.update(len(text))
        if not text.lstrip().startswith('['):
            raise ConfigError(f'{path} is not a list of images; name the labels of BDD100K.')
        text, place = text.lstrip()[1:], 0
        while True:
            while place < len(text) and text[place] in ' \t\r\n,':
                place += 1
            if text[place : place + 1] == ']':
                return
            try:
                item, place = decoder.raw_decode(text, place)
            except json.JSONDecodeError:
                more = file.read(chunk)
                if not more:
                    raise ConfigError(f'{path} is not JSON, or ends early; download it again.') from None
                bar.update(len(more))
                text, place = text[place:] + more, 0
                continue
            yield item


def _files(folder: Path, progress: bool) -> Iterator[dict]:
    paths = sorted(folder.glob('*.json'))
    for path in tqdm(paths, desc=f'{folder.parent.name}/{folder.name}', disable=not progress):
        check_kind(path, 'the label file')
        try:
            item = json.loads(path.read_bytes())
            yield dict(
                name=f'{item["name"]}.jpg', labels=[one for frame in item['frames'] for one in frame['objects']]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'{path} is not a label file of BDD100K ({error!r}); download it again.') from None


def find_labels(root: Path, split: str) -> Path:
    """The file or the folder of the labels of a split.

    Raises:
        ConfigError: there is none.
    """
    for layout in _LAYOUTS:
        path = root / layout.format(split)
        if path.exists():
            return path
    wanted = ', '.join(layout.format(split) for layout in _LAYOUTS)
    raise ConfigError(f'{root} has no labels, none of {wanted}; docs/data.md says where BDD100K comes from and goes.')


def read_labels(path: Path, progress: bool = True) -> Iterator[tuple[str, list[dict]]]:
    """Name of the file of each image, and its labels.

    Raises:
        ConfigError: the file is not what it should be.
    """
    for item in _files(path, progress) if path.is_dir() else items_of(path, progress):
        if not isinstance(item, dict) or not isinstance(item.get('name'), str):
            raise ConfigError(f'{path} has an entry without the name of an image; download it again.')
        # Of the release of 2020, images without a label have null, or nothing.
        yield item['name'], item.get('labels') or []


# --- converting ------------------------------------------------------------------------------------------------------


@dataclass
class Split:
    """The labelled images of one official split, as COCO's records, in the order of their names.

    Args:
        images: ``id``, ``file_name``, ``width``, ``height``.
        annotations: ``bbox`` is x, y, width, height in pixels.
        missing: labelled images without a file.
        unknown: boxes of other categories, by category.
        empty: boxes without an area, or outside of their image.
    """

    images: list[dict] = field(default_factory=list)
    annotations: list[dict] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: Counter = field(default_factory=Counter)
    empty: int = 0


def _size(path: Path) -> tuple[int, int]:
    check_kind(path, 'the image')
    try:
        with Image.open(path) as image:
            return image.size
    except (UnidentifiedImageError, OSError):
        raise ConfigError(f'{path} is not an image, or not a whole one; download it again.') from None


def _annotation(label: dict, width: int, height: int, found: Split) -> dict | None:
    """A box within its image; None, and counted, where there is none."""
    category = _OTHER_NAMES.get(label.get('category'), label.get('category'))
    if category not in CLASSES:
        found.unknown[str(category)] += 1
        return None
    box = label['box2d']
    x1, x2 = (min(max(float(box[key]), 0.0), float(width)) for key in ('x1', 'x2'))
    y1, y2 = (min(max(float(box[key]), 0.0), float(height)) for key in ('y1', 'y2'))
    if x2 <= x1 or y2 <= y1:
        found.empty += 1
        return None
    w, h = x2 - x1, y2 - y1
    return dict(category_id=CLASSES.index(category) + 1, bbox=[x1, y1, w, h], area=w * h, iscrowd=0)


def read_split(root: Path, split: str, progress: bool = True) -> Split:
    """Read labels and image sizes of ``'train'`` or ``'val'``.

    Raises:
        ConfigError: labels are missing or broken, an image is listed twice, or cannot be read.
    """
    path, folder = find_labels(root, split), root / 'images' / '100k' / split
    if not folder.is_dir():
        raise ConfigError(f'there is no folder {folder}; docs/data.md says where BDD100K comes from and goes.')
    there = set(os.listdir(folder))
    found, boxes = Split(), {}
    sizes = {}
    for name, labels in read_labels(path, progress):
        if name in boxes:
            raise ConfigError(f'{path} lists {name} more than once; download it again.')
        boxes[name] = []
        if name not in there:
            found.missing.append(name)
            continue
        sizes[name] = width, height = _size(folder / name)
        try:
            all_boxes = [_annotation(one, width, height, found) for one in labels if one.get('box2d')]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f'{path} has a label of {name} that is no box ({error!r}); download it again.') from None
        boxes[name] = [one for one in all_boxes if one]
    for index, name in enumerate(sorted(sizes), 1):
        found.images.append(dict(id=index, file_name=name, width=sizes[name][0], height=sizes[name][1]))
        for one in boxes[name]:
            found.annotations.append(dict(one, id=len(found.annotations) + 1, image_id=index))
    return found


def hold_out(image_ids: list[int], number: int, seed: int) -> set[int]:
    """Draw the images that are held out of the official training images for validation.

    Raises:
        ConfigError: none would be left to train on, or none held out.
    """
    if not 0 < number < len(image_ids):
        raise ConfigError(
            f'{number} of {len(image_ids)} training images cannot be held out; name another number with --val.'
        )
    return set(np.random.default_rng(seed).permutation(sorted(image_ids))[:number].tolist())


def _content(found: Split, image_ids: set[int], description: str) -> bytes:
    content = dict(
        info=dict(description=description),
        images=[image for image in found.images if image['id'] in image_ids],
        annotations=[one for one in found.annotations if one['image_id'] in image_ids],
        categories=[dict(id=index, name=name) for index, name in enumerate(CLASSES, 1)],
    )
    return json.dumps(content).encode()


def convert(
    root: str | os.PathLike, val: int = 10_000, seed: int = 0, skip_missing: bool = False, progress: bool = True
) -> dict[str, Split]:
    """Write ``<root>/annotations/detection_{train,val,test}.json`` together, after all of it has been read.

    ``test`` is the official validation split; ``val`` are official training images, drawn from all of them.

    Args:
        root: folder with ``images/100k/{train,val}`` and ``labels``.
        val: how many images are held out.
        seed: of the draw.
        skip_missing: leave out labelled images without a file; otherwise they are an error.

    Returns:
        Both official splits, with what was left out.

    Raises:
        ConfigError: something is missing or broken.
    """
    root = Path(root)
    find_labels(root, 'train')
    with exclusively(root):
        return _convert(root, val, seed, skip_missing, progress)


def _convert(root: Path, val: int, seed: int, skip_missing: bool, progress: bool) -> dict[str, Split]:
    splits = {split: read_split(root, split, progress) for split in ('train', 'val')}
    for split, found in splits.items():
        if found.missing and not skip_missing:
            raise ConfigError(
                f'{root / "images" / "100k" / split} lacks {len(found.missing)} of the '
                f'{len(found.images) + len(found.missing)} labelled images ({some_names(found.missing)}); complete '
                'the download, or leave them out with --skip-missing.'
            )
        if not found.images:
            raise ConfigError(f'{find_labels(root, split)} lists no image that is there; complete the download.')
    ids = {image['id'] for image in splits['train'].images}
    held = hold_out(sorted(ids), val, seed)
    parts = dict(
        train=(splits['train'], ids - held, f'official train without {val} images, seed {seed}'),
        val=(splits['train'], held, f'{val} images of the official train, seed {seed}'),
        test=(splits['val'], {image['id'] for image in splits['val'].images}, 'official val'),
    )
    folder = root / 'annotations'
    # One of another seed beside them would have images of train in val.
    write_together(
        {
            folder / f'detection_{name}.json': _content(found, image_ids, f'BDD100K, {description}')
            for name, (found, image_ids, description) in parts.items()
        }
    )
    return splits
