"""Smaller training sets from a COCO annotation file, for the less-data arms of study A.

Rethinking ImageNet Pre-training, section 5.2, trains on 35k, 10k, 3.5k and 1k images of train2017. The 35k are the
older val35k; of the others the paper does not say which images they are. Here they are nested: a seed shuffles all
images once, and a subset is the first so many of them, so that a smaller set lies within every larger one.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..files import write_together
from ..trust.soundness import check_kind


def draw_nested(image_ids: Iterable[int], sizes: Iterable[int], seed: int) -> dict[int, list[int]]:
    """Draw nested subsets of images.

    Args:
        image_ids: of the whole set; their order does not matter.
        sizes: numbers of images.
        seed: of the shuffle.

    Returns:
        size -> image ids, in ascending order.

    Raises:
        ConfigError: a size is not between 1 and the number of images.
    """
    image_ids = np.unique(np.fromiter(image_ids, np.int64))
    shuffled = np.random.default_rng(seed).permutation(image_ids)
    subsets = {}
    for size in sizes:
        if not 1 <= size <= len(image_ids):
            raise ConfigError(f'a subset of {size} images cannot be drawn from {len(image_ids)}; ask for fewer.')
        subsets[size] = sorted(shuffled[:size].tolist())
    return subsets


def restrict(annotations: dict, image_ids: Iterable[int]) -> dict:
    """The part of a COCO annotation file that is about some of its images, in the order of the file.

    Args:
        annotations: a whole file, as a dict with ``images``, ``annotations`` and ``categories``.
        image_ids: ids to keep; all of them must be in the file.

    Raises:
        ConfigError: an id is not in the file.
    """
    keep = set(image_ids)
    missing = keep - {image['id'] for image in annotations['images']}
    if missing:
        raise ConfigError(
            f'{len(missing)} of {len(keep)} images, {min(missing)} among them, are not in the annotation file that '
            'they are to be taken from; name the file of the data set that has them.'
        )
    return dict(
        annotations,
        images=[image for image in annotations['images'] if image['id'] in keep],
        annotations=[one for one in annotations['annotations'] if one['image_id'] in keep],
    )


def reordered(annotations: dict, names: Iterable[str]) -> dict:
    """A COCO annotation file whose categories have the order of some names; those of other names come last.

    Args:
        annotations: as of :func:`restrict`.
    """
    places = {name: place for place, name in enumerate(names)}
    last = len(places)
    ordered = sorted(annotations['categories'], key=lambda category: places.get(category['name'], last))
    return dict(annotations, categories=ordered)


def renumbered(annotations: dict, ids: dict[str, int]) -> dict:
    """A COCO or LVIS annotation file whose categories have other ids, in its annotations and in what images list.

    Args:
        annotations: as of :func:`restrict`.
        ids: of names; categories of other names get the next ones.
    """
    others = [one['name'] for one in annotations['categories'] if one['name'] not in ids]
    ids = ids | {name: max(ids.values(), default=0) + place for place, name in enumerate(others, 1)}
    new = {one['id']: ids[one['name']] for one in annotations['categories']}
    lists = ('neg_category_ids', 'not_exhaustive_category_ids')

    def of_image(image: dict) -> dict:
        return image | {key: [new[one] for one in image[key]] for key in lists if key in image}

    return dict(
        annotations,
        images=[of_image(image) for image in annotations['images']],
        annotations=[one | dict(category_id=new[one['category_id']]) for one in annotations['annotations']],
        categories=[one | dict(id=new[one['id']]) for one in annotations['categories']],
    )


def count(annotations: dict) -> dict[str, int]:
    """Images, images that training uses (with a box that is not a crowd), boxes, crowds, categories with a box."""
    boxes = [one for one in annotations['annotations'] if not one.get('iscrowd')]
    return {
        'images': len(annotations['images']),
        'images with a box': len({one['image_id'] for one in boxes}),
        'boxes': len(boxes),
        'crowds': len(annotations['annotations']) - len(boxes),
        'categories with a box': len(Counter(one['category_id'] for one in boxes)),
    }


def size_name(size: int) -> str:
    """35000 -> '35k', 3500 -> '3.5k', 250 -> '250': how subsets are named in files and configs."""
    return f'{size / 1000:g}k' if size >= 1000 else str(size)


def read(path: str | Path) -> dict:
    """Read a COCO annotation file.

    Raises:
        ConfigError: there is no such file, or it is no COCO annotation file.
    """
    check_kind(path, 'the annotation file')
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise ConfigError(f'there is no annotation file {path}; docs/data.md says where it comes from.') from None
    except ValueError as error:
        raise ConfigError(f'{path} is not JSON ({error}); download it again.') from None
    if not isinstance(content, dict) or not {'images', 'annotations', 'categories'} <= content.keys():
        raise ConfigError(f'{path} has no images, annotations and categories, so it is no COCO annotation file.')
    return content


def write(parts: dict[str | Path, dict]) -> None:
    """Write annotation files; a kill leaves no two of different draws, which would not nest."""
    write_together({path: json.dumps(annotations).encode() for path, annotations in parts.items()})
