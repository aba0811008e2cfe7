"""Shapes: generated images on which the studies run in miniature, on a laptop, in minutes.

Two data sets come from one generator, as ImageNet and COCO come from one world:

* detection: scenes of several textured shapes that occlude each other before textured backgrounds, written in COCO's
  own layout and JSON (``annotations/instances_train2017.json``, ``train2017/``, ``val2017/``), so that a config made
  for COCO reads them after a change of ``data_root`` and classes;
* classification: crops of one shape each, from another distribution of images (own colours, textures and blur, one
  object, never occluded), in ImageNet's folder layout (``train/<class>/<image>.jpg``). It stands in for ImageNet.

What tells the classes apart is the outline alone: colour, texture, size and rotation are drawn independently of it.

Every image has a random stream of its own, seeded by (seed, data set, split, index): the same arguments give the same
bytes, and a larger data set begins with the images of a smaller one.

Coordinates are COCO's: x to the right, y down, in pixels, the top left corner of the image is (0, 0) and a pixel
covers [i, i + 1).
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from shapely import affinity
from shapely.geometry import Polygon, box
from shapely.ops import unary_union
from tqdm import tqdm

from ..files import exclusively, write_atomically

CLASSES = ('ellipse', 'rectangle', 'triangle', 'star', 'cross')
# Every outline that there is; which of them are classes is up to the data set.
OUTLINES = (*CLASSES, 'arrow', 'heart', 'crescent', 'angle', 'hourglass')

# First component of every image's random stream. Numbers, not names: Python's string hash changes between runs.
_DETECTION, _CLASSIFICATION = 1, 2
_SPLITS = {'train': 0, 'val': 1}
# Scenes are drawn at twice their size and averaged down, which gives soft edges as a lens does.
_SUPERSAMPLE = 2
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 92)


class Material(NamedTuple):
    """Of which an object is made.

    Args:
        kind: 0 for a grain without direction, 1 for bars, 2 for checks.
        angle: across the bars, in radians.
        period: of the bars, in pixels.
    """

    kind: int
    angle: float
    period: float


class _Domain:
    """How images are made where a data set says nothing else.

    See :mod:`rethink.datasets.shapes_domains` and :mod:`rethink.datasets.shapes_tail`.
    """

    # Names of the classes, in the order of their indices; each is one of OUTLINES.
    classes = CLASSES
    # Smallest and largest object of a crop, as the square root of its area over the size of the crop.
    extent = (0.4, 0.65)

    def label(self, split: str, rng: np.random.Generator) -> int:
        """Class of an object of a scene."""
        return rng.integers(len(self.classes))

    def crop_palette(self, rng: np.random.Generator) -> np.ndarray:
        """Two colours, (2, 3) in [0, 1], of an object or a background of a crop."""
        # Muted: little saturation, which is one of the ways in which the crops are another world than the scenes.
        grey = rng.uniform(0.1, 0.9, (2, 1))
        return np.clip(grey + rng.uniform(-0.15, 0.15, (2, 3)), 0, 1)

    def material(self, label: int, rng: np.random.Generator) -> Material | None:
        """Of an object of a class; None for any."""
        return None

    def look(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The image, uint8 BGR of (size, size, 3), as it is written."""
        return image


@dataclass(frozen=True)
class DetectionSpec(_Domain):
    """What the detection data set is made of.

    Args:
        train, val: number of images.
        size: height and width of an image, in pixels.
        objects: fewest and most objects placed in an image; one that ends up hidden is not annotated.
        scale: smallest and largest object, as the square root of its area over ``size``.
        difficulty: from 0 (plain backgrounds, strong contrast, hardly any occlusion) to 1 (strong texture, weak
            contrast, objects annotated down to a quarter of their area visible).
        crowd: probability that an image holds a crowd: a dozen and more small objects of one class under a single
            annotation with ``iscrowd=1`` and a run-length mask, as in COCO.
        seed: of all random streams.
    """

    train: int = 2000
    val: int = 200
    size: int = 128
    objects: tuple[int, int] = (2, 6)
    scale: tuple[float, float] = (0.1, 0.4)
    difficulty: float = 0.4
    crowd: float = 0.03
    seed: int = 0

    def __post_init__(self):
        _check(self)
        if not 0 < self.objects[0] <= self.objects[1]:
            raise ValueError(f'shapes: objects={self.objects} must be a fewest >= 1 and a most that is not smaller.')
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f'shapes: scale={self.scale} must be two fractions of the image size, smaller first.')


@dataclass(frozen=True)
class ClassificationSpec(_Domain):
    """What the classification data set is made of.

    Args:
        train, val: number of images, spread evenly over the classes.
        size: height and width of a crop, in pixels.
        difficulty: as in :class:`DetectionSpec`, without occlusion.
        seed: of all random streams.
    """

    train: int = 5000
    val: int = 500
    size: int = 48
    difficulty: float = 0.4
    seed: int = 0

    def __post_init__(self):
        _check(self)


def _check(spec):
    if spec.train < 1 or spec.val < 1:
        raise ValueError(f'shapes: train={spec.train} and val={spec.val} must be at least one image each.')
    if spec.size < 16:
        raise ValueError(f'shapes: size={spec.size} is too small to hold a shape; take at least 16 pixels.')
    if not 0 <= spec.difficulty <= 1:
        raise ValueError(f'shapes: difficulty={spec.difficulty} must lie between 0 and 1.')


def outline(name: str, rng: np.random.Generator) -> Polygon:
    """A shape of unit area around the origin, with proportions and a tilt of up to 22.5 degrees
    drawn at random.

    Args:
        name: one of :data:`OUTLINES`.
        rng: random stream to draw from.

    Raises:
        ValueError: there is no such outline.
    """
    stretch = rng.uniform(0.6, 1.0)
    if name == 'ellipse':
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        points = np.stack([np.cos(angle), np.sin(angle)], 1)
    elif name == 'rectangle':
        points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    elif name == 'triangle':
        points = np.array([[rng.uniform(-0.5, 0.5), -1], [1, 1], [-1, 1]])
    elif name == 'star':
        angle = np.arange(10) * np.pi / 5
        points = np.stack([np.cos(angle), np.sin(angle)], 1)
        points[1::2] *= rng.uniform(0.38, 0.5)
    elif name == 'cross':
        arm = rng.uniform(0.25, 0.4)
        corner = np.array([[arm, -1], [arm, -arm], [1, -arm]])
        points = np.concatenate([corner @ _rotation(quarter * np.pi / 2).T for quarter in range(4)])
    elif name == 'arrow':
        neck, shaft = rng.uniform(-0.2, 0.2), rng.uniform(0.25, 0.4)
        right = np.array([[1, neck], [shaft, neck], [shaft, 1]])
        points = np.concatenate([[[0, -1]], right, right[::-1] * [-1, 1]])
    elif name == 'heart':
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        height = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
        points = np.stack([np.sin(angle) ** 3, -height / 16], 1)
    elif name == 'crescent':
        angle, inner = np.linspace(-np.pi / 2, np.pi / 2, 20), rng.uniform(0.2, 0.4)
        outer = np.stack([np.cos(angle), np.sin(angle)], 1)
        points = np.concatenate([outer, outer[-2:0:-1] * [inner, 1]])
    elif name == 'angle':
        arm = rng.uniform(-0.5, -0.2)
        points = np.array([[-1, -1], [arm, -1], [arm, -arm], [1, -arm], [1, 1], [-1, 1]])
    elif name == 'hourglass':
        waist = rng.uniform(0.15, 0.3)
        points = np.array([[-1, -1], [1, -1], [waist, 0], [1, 1], [-1, 1], [-waist, 0]])
    else:
        raise ValueError(f'shapes: no shape {name!r}; choose from {", ".join(OUTLINES)}.')
    # Upright with a tilt, as gravity leaves most things in photographs; any rotation makes outlines much harder.
    shape = Polygon((points * [1, stretch]) @ _rotation(rng.uniform(-1, 1) * np.pi / 8).T)
    shape = affinity.scale(shape, shape.area**-0.5, shape.area**-0.5, origin=(0, 0))
    return affinity.translate(shape, -shape.centroid.x, -shape.centroid.y)


def _rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _noise(rng, size, cells):
    """Smooth noise in [0, 1] of ``size`` x ``size``, with about ``cells`` bumps along a side."""
    return cv2.resize(rng.random((cells + 3, cells + 3), np.float32), (size, size), interpolation=cv2.INTER_CUBIC)


def _texture(rng, size, strength, colours, material=None):
    """A textured surface: float32 of (size, size, 3), about [0, 1].

    Args:
        size: in supersampled pixels; the grain keeps its size, so that a larger surface shows more of it.
        strength: how far the texture moves the colour, 0 to 1.
        colours: (2, 3), between which the texture mixes.
        material: what it is made of; drawn if None.
    """
    kind = rng.integers(3) if material is None else material.kind
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    if kind == 0:
        pattern = 0.6 * _noise(rng, size, size // 40 + 2) + 0.4 * _noise(rng, size, size // 10 + 2)
    else:
        # Bars or, of two directions, checks; never sharper than a few pixels.
        if material is None:
            angle, frequency = rng.uniform(0, np.pi), rng.uniform(2, max(3, size / 20))
        else:
            angle, frequency = material.angle, size / (material.period * _SUPERSAMPLE)
        pattern = np.sin(2 * np.pi * frequency * (np.cos(angle) * x + np.sin(angle) * y))
        if kind == 2:
            pattern = pattern * np.sin(2 * np.pi * frequency * (np.cos(angle) * y - np.sin(angle) * x))
        pattern = 0.5 + 0.4 * pattern + 0.2 * (_noise(rng, size, size // 30 + 2) - 0.5)
    mixed = colours[0] + (colours[1] - colours[0]) * (0.5 + strength * (pattern[..., None] - 0.5))
    # Light falls off across a surface.
    light = 1 + 0.25 * ((x - 0.5) * rng.uniform(-1, 1) + (y - 0.5) * rng.uniform(-1, 1))
    return (mixed * light[..., None]).astype(np.float32)


def _fill(shape, size):
    """Mask of a shape at the supersampled size: float32 of (S*size, S*size) in [0, 1]."""
    canvas = np.zeros((size * _SUPERSAMPLE,) * 2, np.uint8)
    # fillPoly takes pixel centres, with 4 fractional bits.
    points = (np.array(shape.exterior.coords) * _SUPERSAMPLE - 0.5) * 16
    cv2.fillPoly(canvas, [points.round().astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    return canvas.astype(np.float32) / 255


def _paint(canvas, shape, rng, size, strength, contrast, palette, material=None):
    """Draw one object onto ``canvas`` (float32 of (S*size, S*size, 3)), with a shadow under it."""
    mask = _fill(shape, size)
    offset = rng.uniform(-0.03, 0.03, 2) * size
    shadow = cv2.GaussianBlur(_fill(affinity.translate(shape, *offset), size), (0, 0), 0.02 * size * _SUPERSAMPLE)
    canvas *= 1 - 0.35 * (shadow * (1 - mask))[..., None]
    # An object differs from what is behind it by at least `contrast` in some channel, in either direction.
    behind = canvas[mask > 0.5].mean(0) if (mask > 0.5).any() else canvas.mean((0, 1))
    colours = palette(rng)
    distance = np.abs(colours.mean(0) - behind).max()
    if distance < contrast:
        colours = np.clip(colours + np.where(behind < 0.5, 1, -1) * (contrast - distance), 0, 1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size:
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = mask[window].shape
        texture = _texture(rng, max(height, width), strength, colours, material)[:height, :width]
        canvas[window] += mask[window][..., None] * (texture - canvas[window])


def _photograph(canvas, rng, size, blur, noise):
    """From a float canvas to uint8 BGR of (size, size, 3), through a lens and a sensor."""
    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), blur)
    image = image + rng.normal(0, noise, image.shape).astype(np.float32)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def scene_palette(rng):
    return rng.uniform(0.05, 0.95, (2, 3))


def _place(shape, side, rng, size):
    """The unit-area ``shape`` with area ``side``², wholly inside the image where it fits."""
    shape = affinity.scale(shape, side, side, origin=(0, 0))
    x1, y1, x2, y2 = shape.bounds
    low, high = np.array([-x1, -y1]), np.array([size - x2, size - y2])
    centre = np.where(low < high, rng.uniform(np.minimum(low, high), np.maximum(low, high)), (low + high) / 2)
    return affinity.translate(shape, *centre)


def draw_scene(spec: DetectionSpec, split: str, index: int) -> tuple[np.ndarray, list[dict]]:
    """One image of the detection data set.

    Args:
        spec: what to draw.
        split: ``'train'`` or ``'val'``.
        index: of the image within its split.

    Returns:
        The image, uint8 BGR of (size, size, 3), and its annotations as in COCO but for the ids: ``category_id``
        counts from 1 in the order of ``spec.classes``, ``bbox`` is (x, y, width, height), ``segmentation`` the
        polygons of the part that is visible (a run-length mask for a crowd), ``area`` that of the segmentation in
        square pixels. As with COCO's annotators, a polygon runs around a hole that another object makes.
    """
    rng = np.random.default_rng([spec.seed, _DETECTION, _SPLITS[split], index])
    size, hard = spec.size, spec.difficulty
    strength, contrast = 0.3 + 0.7 * hard, 0.35 - 0.25 * hard
    canvas = _texture(rng, size * _SUPERSAMPLE, strength, scene_palette(rng))

    # From back to front: (class index, crowd or not, outlines).
    layers = []
    if rng.random() < spec.crowd:
        label, centre = spec.label(split, rng), rng.uniform(0.25, 0.75, 2) * size
        spots = centre + rng.normal(0, 0.1, (rng.integers(12, 20), 2)) * size
        name, side = spec.classes[label], 0.06 * size
        small = [affinity.scale(outline(name, rng), side, side, origin=(0, 0)) for _ in spots]
        layers.append((label, True, [affinity.translate(one, *spot) for one, spot in zip(small, spots, strict=True)]))
    for _ in range(rng.integers(spec.objects[0], spec.objects[1] + 1)):
        label = spec.label(split, rng)
        side = size * np.exp(rng.uniform(*np.log(spec.scale)))
        layers.append((label, False, [_place(outline(spec.classes[label], rng), side, rng, size)]))
    for label, _, shapes in layers:
        for shape in shapes:
            _paint(canvas, shape, rng, size, strength, contrast, scene_palette, spec.material(label, rng))
    image = _photograph(canvas, rng, size, blur=0.3 + 0.4 * rng.random(), noise=0.02 + 0.04 * hard * rng.random())
    image = spec.look(image, rng)

    annotations, frame, in_front = [], box(0, 0, size, size), Polygon()
    for label, crowd, shapes in reversed(layers):
        whole = unary_union(shapes)
        visible = whole.intersection(frame).difference(in_front)
        in_front = in_front.union(whole)
        # Slivers between outlines are no part of an object that anybody would draw.
        parts = [
            part for part in getattr(visible, 'geoms', [visible]) if part.geom_type == 'Polygon' and part.area > 2
        ]
        if sum(part.area for part in parts) < max(9, (0.6 - 0.35 * hard) * whole.area * (not crowd)):
            continue
        annotations.append(_annotation(parts, int(label), crowd, size))
    return image, annotations[::-1]


def _annotation(parts, label, crowd, size):
    polygons = [np.array(part.exterior.coords[:-1]).ravel().round(2).tolist() for part in parts]
    outer = unary_union([Polygon(part.exterior) for part in parts])
    x1, y1, x2, y2 = outer.bounds
    segmentation, area = polygons, outer.area
    if crowd:
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, size, size)))
        segmentation, area = {'size': [size, size], 'counts': _run_lengths(mask)}, mask.sum()
    return dict(
        category_id=label + 1,
        bbox=[round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
        area=round(float(area), 2),
        iscrowd=int(crowd),
        segmentation=segmentation,
    )


def _run_lengths(mask):
    """COCO's uncompressed run lengths of a binary mask: column by column, zeros first."""
    flat = mask.ravel(order='F')
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return runs if flat[0] == 0 else [0, *runs]


def draw_crop(spec: ClassificationSpec, split: str, index: int) -> tuple[np.ndarray, int]:
    """One image of the classification data set.

    Args:
        spec: what to draw.
        split: ``'train'`` or ``'val'``.
        index: of the image within its split; the classes take turns.

    Returns:
        The image, uint8 BGR of (size, size, 3), and the index of its class in ``spec.classes``.
    """
    rng = np.random.default_rng([spec.seed, _CLASSIFICATION, _SPLITS[split], index])
    size, hard = spec.size, spec.difficulty
    label = index % len(spec.classes)
    strength, contrast = 0.3 + 0.7 * hard, 0.35 - 0.25 * hard
    canvas = _texture(rng, size * _SUPERSAMPLE, 0.5 * strength, spec.crop_palette(rng))
    shape = _place(outline(spec.classes[label], rng), size * rng.uniform(*spec.extent), rng, size)
    _paint(canvas, shape, rng, size, strength, contrast, spec.crop_palette, spec.material(label, rng))
    image = _photograph(canvas, rng, size, blur=0.4 + 0.6 * rng.random(), noise=0.02 + 0.04 * hard * rng.random())
    return spec.look(image, rng), label


def write_detection(root: str | Path, spec: DetectionSpec, progress: bool = True) -> bool:
    """Write the detection data set below ``root``, in COCO's layout.

    A complete data set of the same arguments is left as it is; one that a kill left half done is written again.

    Returns:
        Whether anything was written.

    Raises:
        FileExistsError: ``root`` holds a data set of other arguments.
    """
    root, categories = Path(root), [dict(id=i, name=name) for i, name in enumerate(spec.classes, 1)]

    def write_split(split):
        images, annotations = [], []
        folder = root / f'{split}2017'
        folder.mkdir(parents=True)
        for index in _progress(range(getattr(spec, split)), f'scenes, {split}', progress):
            image, objects = draw_scene(spec, split, index)
            name = f'{index + 1:012d}.jpg'
            _write_image(folder / name, image)
            images.append(dict(id=index + 1, file_name=name, width=spec.size, height=spec.size))
            for one in objects:
                annotations.append(dict(id=len(annotations) + 1, image_id=index + 1, **one))
        content = dict(
            info=dict(description='generated by rethink.datasets.shapes', **asdict(spec)),
            licenses=[],
            categories=categories,
            images=images,
            annotations=annotations,
        )
        write_atomically(root / 'annotations' / f'instances_{split}2017.json', json.dumps(content).encode())

    return _write_once(root, spec, write_split)


def write_classification(root: str | Path, spec: ClassificationSpec, progress: bool = True) -> bool:
    """Write the classification data set below ``root``, in ImageNet's folder layout.

    Returns and raises as :func:`write_detection`.
    """
    root = Path(root)

    def write_split(split):
        for name in spec.classes:
            (root / split / name).mkdir(parents=True)
        for index in _progress(range(getattr(spec, split)), f'crops, {split}', progress):
            image, label = draw_crop(spec, split, index)
            _write_image(root / split / spec.classes[label] / f'{index + 1:06d}.jpg', image)

    return _write_once(root, spec, write_split)


def _write_once(root, spec, write_split):
    wanted = json.loads(json.dumps(dict(kind=type(spec).__name__, classes=spec.classes, **asdict(spec))))
    if _is_there(root, wanted):
        return False
    with exclusively(root, wait=True):
        if _is_there(root, wanted):  # of the run that was waited for
            return False
        for leftover in ('train', 'val', 'train2017', 'val2017', 'annotations'):
            shutil.rmtree(root / leftover, ignore_errors=True)
        for split in _SPLITS:
            write_split(split)
        # Last, so that its presence says that everything else is there.
        write_atomically(root / 'shapes.json', json.dumps(wanted).encode())
    return True


def _is_there(root, wanted):
    receipt = root / 'shapes.json'
    if not receipt.is_file():
        return False
    found = json.loads(receipt.read_text())
    differing = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
    if differing:
        raise FileExistsError(
            f'shapes: {root} holds a data set with other {", ".join(differing)}; name another folder or delete it.'
        )
    return True


def _progress(indices, what, shown):
    return tqdm(indices, what, unit='image', disable=None if shown else True)


def _write_image(path, image):
    if not cv2.imwrite(str(path), image, _JPEG):
        raise OSError(f'shapes: could not write {path}; is the disk full?')
