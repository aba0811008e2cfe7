"""Boxes and the images that they are of: how far they reach out, and what else their numbers may mean."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Pixels by which a box may stick out of its image, which is rounding.
SLACK = 1
# Part of the boxes that must reach out of their images as they are read, and of those that must fit another way.
OUT, FIT = 0.1, 0.99
# Part of the outlines above which rectangles are what a tool wrote for boxes, and not what objects look like.
RECTANGLES = 0.95


class Reading(NamedTuple):
    """Another way in which the numbers of boxes may be meant.

    Args:
        kind: a name for it.
        words: what the numbers would be.
        fix: what to write in their place.
        boxes: the boxes that they would be, from those that they are read as, both (n, 4) float: x, y, width, height
            in pixels; infinite where a box would have no area.
    """

    kind: str
    words: str
    fix: str
    boxes: Callable[[np.ndarray], np.ndarray]


def over(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Pixels by which boxes stick out of their images, at the side where it is most; negative of those inside.

    Args:
        boxes: (n, 4), x, y, width, height in pixels.
        sizes: (n, 2), width and height of the image of each.
    """
    return np.maximum(boxes[:, :2] + boxes[:, 2:] - sizes, -boxes[:, :2]).max(1)


def meant(boxes: np.ndarray, sizes: np.ndarray, readings: Sequence[Reading]) -> tuple[Reading, int] | None:
    """The first way in which boxes fit that do not fit as they are read, and the number of these; None: nothing shows.

    Args:
        boxes, sizes: as of :func:`over`, all finite.
    """
    reaching = over(boxes, sizes) > SLACK if len(boxes) else np.zeros(1, bool)
    if reaching.mean() < OUT:
        return None
    for one in readings:
        if (over(one.boxes(boxes), sizes) <= SLACK).mean() >= FIT:
            return one, int(reaching.sum())
    return None


def is_rectangle(segmentation) -> bool:
    """Whether an outline is a box, upright or turned, and tells a mask no more than that box would.

    Its diagonals have one middle and one length, to a pixel, or to a twentieth of them where they are short.

    Args:
        segmentation: polygons of COCO's form, x and y in turns, in pixels.
    """
    if not isinstance(segmentation, list) or len(segmentation) != 1 or len(segmentation[0]) not in (8, 10):
        return False
    (ax, ay, bx, by, cx, cy, dx, dy), closing = segmentation[0][:8], segmentation[0][8:]
    if closing and closing != [ax, ay]:
        return False
    one, other = math.hypot(cx - ax, cy - ay), math.hypot(dx - bx, dy - by)
    apart = max(abs(ax + cx - bx - dx) / 2, abs(ay + cy - by - dy) / 2, abs(one - other))
    return apart <= min(SLACK, one / 20)


def _with_area(corner: np.ndarray, sides: np.ndarray) -> np.ndarray:
    return np.where((sides > 0).all(1, keepdims=True), np.hstack([corner, sides]), np.inf)


TURNED = Reading('turned', 'y, x, height, width', 'write x before y', lambda boxes: boxes[:, [1, 0, 3, 2]])
# Of COCO's x, y, width and height.
OF_COCO = (
    Reading(
        'corners',
        'corners x1, y1, x2, y2',
        'write width and height: x2 - x1 and y2 - y1',
        lambda boxes: _with_area(boxes[:, :2], boxes[:, 2:] - boxes[:, :2]),
    ),
    Reading(
        'centres',
        'centre, width and height',
        'write the upper left corner: x - width / 2 and y - height / 2',
        lambda boxes: _with_area(boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]),
    ),
    TURNED,
)
# Of YOLO's centre, width and height.
OF_YOLO = (
    Reading(
        'upper left corners',
        'upper left corner, width and height',
        'write the centre: x + width / 2 and y + height / 2',
        lambda boxes: _with_area(boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]),
    ),
    Reading(
        'corners',
        'corners x1, y1, x2, y2',
        'write centre, width and height',
        lambda boxes: _with_area(boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] / 2 - boxes[:, :2]),
    ),
)
# Of VOC's two corners.
OF_VOC = (TURNED._replace(words='ymin, xmin, ymax, xmax'),)
