"""What is in a user's images and boxes, and the sizes that follow from it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ...analysis.markdown import markdown_table

# The longer side of training images where nothing is said: what two cores train on in minutes.
LONGER_SIDE = 320
# The smaller objects: one in so many of a hundred is below.
SMALL = 10


@dataclass(frozen=True, eq=False)
class Part:
    """Images to train or to validate on.

    Args:
        data: :class:`rethink.datasets.exports.Labelled`.
        sizes: width and height of each image, (N, 2).
        boxes: width and height of each object and the index of its image, (M, 3); crowds are not among them.
        counts: class -> objects.
        used: images with an object.
    """

    data: object
    sizes: np.ndarray
    boxes: np.ndarray
    counts: Counter
    used: int

    @property
    def number(self) -> int:
        return len(self.sizes)

    def sides(self, size: tuple[int, int]) -> np.ndarray:
        """√(width · height) of each object when its image is made to fit ``size``, as ``Resize`` does: (M,)."""
        longer, shorter = self.sizes.max(1), self.sizes.min(1)
        scale = np.minimum(size[0] / longer, size[1] / shorter)
        return np.sqrt(self.boxes[:, 0] * self.boxes[:, 1]) * scale[self.boxes[:, 2].astype(int)]


def look(data) -> Part:
    """Read the annotations of a data set."""
    content = json.loads(Path(data.annotations).read_text(encoding='utf-8'))
    index = {image['id']: number for number, image in enumerate(content['images'])}
    names = {category['id']: category['name'] for category in content['categories']}
    wanted = [one for one in content['annotations'] if not one.get('iscrowd')]
    counts = Counter(dict.fromkeys(data.classes, 0))
    counts.update(names[one['category_id']] for one in wanted)
    return Part(
        data,
        np.array([(image['width'], image['height']) for image in content['images']], float).reshape(-1, 2),
        np.array([(*one['bbox'][2:], index[one['image_id']]) for one in wanted], float).reshape(-1, 3),
        counts,
        len({one['image_id'] for one in wanted}),
    )


def image_size(parts: Sequence[Part], asked: Sequence[int] | None = None) -> tuple[int, int]:
    """Longer and shorter side that images are made to fit, multiples of 16.

    Args:
        asked: longer and shorter side, or the longer alone; None: :data:`LONGER_SIDE`, or that of the median image
            where it is smaller. The shape is then that of the median image.
    """
    sizes = np.concatenate([part.sizes for part in parts])
    longer = max(asked) if asked else min(LONGER_SIDE, median(sizes.max(1).tolist()))
    shorter = min(asked) if asked and len(asked) > 1 else longer * median((sizes.min(1) / sizes.max(1)).tolist())
    return tuple(max(32, round(side / 16) * 16) for side in (longer, shorter))


def anchor_scale(train: Part, size: tuple[int, int]) -> int:
    """Side of the anchors in strides, 2, 4 or 8: the largest whose anchors of stride 4 the smaller objects are as
    large as, to a factor of √2."""
    small = np.percentile(train.sides(size), SMALL)
    return max([scale for scale in (2, 4, 8) if 4 * scale <= small * 2**0.5], default=2)


def report(parts: dict[str, Part], size: tuple[int, int]) -> str:
    """A table of classes and sizes, for a terminal."""
    rows = [('images', *(part.number for part in parts.values()))]
    rows += [('with objects', *(part.used for part in parts.values()))]
    middle = [' × '.join(f'{value:.0f}' for value in np.median(part.sizes, axis=0)) for part in parts.values()]
    rows += [('median width × height', *middle)]
    rows += [('objects', *(len(part.boxes) for part in parts.values()))]
    for name in next(iter(parts.values())).data.classes:
        rows += [(f'of {name}', *(part.counts[name] for part in parts.values()))]
    for percent, word in ((SMALL, 'a tenth'), (50, 'half'), (100 - SMALL, 'nine tenths')):
        sides = [f'{np.percentile(part.sides(size), percent):.0f} px' for part in parts.values()]
        rows += [(f'side that {word} are below, at {size[0]} × {size[1]}', *sides)]
    return markdown_table(['', *parts], rows, len(parts))
