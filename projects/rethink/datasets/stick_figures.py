"""Stick figures: generated people with COCO's 17 keypoints, on which a keypoint head is trained in minutes.

Scenes are those of :mod:`rethink.datasets.shapes` (same textures, light, camera and random streams), with people in
place of shapes. They are written as COCO writes its people: ``annotations/person_keypoints_{train,val}2017.json``,
``train2017/``, ``val2017/``. Everybody faces the viewer, so that a left hand is on the right of the image.

Coordinates are COCO's: boxes and polygons are continuous, keypoints name the pixel they are in, as a decimal number:
its middle is a whole number. Visibility is 2 where a keypoint can be seen; 1 where somebody stands in front of it, or
the head is turned so that it hides an ear; 0, with x = y = 0, outside the image and for people who are too small to
label.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from shapely import affinity
from shapely.geometry import LineString, MultiPoint, Point, Polygon, box
from shapely.ops import unary_union

from ..files import write_atomically
from . import shapes
from .person import PERSON_KEYPOINTS, PERSON_SKELETON, PIXEL_CENTRE

# First component of every image's random stream, after those of rethink.datasets.shapes.
_FIGURES = 3
# Thickness of a limb and radius of a head, of the height of a person who stands upright.
_LIMB, _HEAD = 0.032, 0.075


@dataclass(frozen=True)
class FigureSpec:
    """What the data set of stick figures is made of.

    Args:
        train, val: number of images.
        size: height and width of an image, in pixels.
        figures: fewest and most people in an image; somebody who ends up hidden is not annotated.
        scale: smallest and largest height of a person who stands upright, of ``size``.
        labelled: people below this height, of ``size``, have a box and no keypoints, as small people in COCO.
        difficulty: as in :class:`rethink.datasets.shapes.DetectionSpec`.
        seed: of all random streams.
    """

    classes = ('person',)

    train: int = 1200
    val: int = 100
    size: int = 128
    figures: tuple[int, int] = (1, 3)
    scale: tuple[float, float] = (0.35, 0.95)
    labelled: float = 0.4
    difficulty: float = 0.2
    seed: int = 0

    def __post_init__(self):
        shapes._check(self)
        if not 0 < self.figures[0] <= self.figures[1]:
            raise ValueError(f'figures: figures={self.figures} must be a fewest >= 1 and a most that is not smaller.')
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f'figures: scale={self.scale} must be two fractions of the image size, smaller first.')


def pose(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Polygon]]:
    """Somebody of height 1, the top of the head at the origin before a tilt of up to 15 degrees.

    Returns:
        Keypoints in the order of COCO, (17, 2), and the outlines of ``legs``, ``torso``, ``arms`` and ``head``; limbs
        under ``left_arm`` and so on.
    """
    turn = rng.uniform(-1, 1)  # of the head, to the right of the image
    at = dict(nose=(0.035 * turn, 0.1))
    for side, sign in (('left', 1), ('right', -1)):
        at[f'{side}_eye'] = (0.028 * sign + 0.02 * turn, 0.075)
        at[f'{side}_ear'] = (_HEAD * sign, 0.085)
        at[f'{side}_shoulder'] = (0.115 * sign, 0.21)
        at[f'{side}_hip'] = (0.075 * sign, 0.52)
        for limb, start, lengths, swing, bend in (
            (('elbow', 'wrist'), 'shoulder', (0.17, 0.16), (0.1, 2.6), (-0.3, 1.2)),
            (('knee', 'ankle'), 'hip', (0.24, 0.24), (-0.05, 0.7), (-0.6, 0.2)),
        ):
            # From straight down, outwards.
            angle, place = rng.uniform(*swing), np.array(at[f'{side}_{start}'])
            for joint, length in zip(limb, lengths, strict=True):
                place = place + length * np.array([sign * np.sin(angle), np.cos(angle)])
                at[f'{side}_{joint}'] = tuple(place)
                angle += rng.uniform(*bend)

    def limb(*names):
        return LineString([at[name] for name in names]).buffer(_LIMB)

    parts = {}
    for side in ('left', 'right'):
        parts[f'{side}_leg'] = limb(f'{side}_hip', f'{side}_knee', f'{side}_ankle')
    corners = [at[f'{side}_{joint}'] for side in ('left', 'right') for joint in ('shoulder', 'hip')]
    parts['torso'] = MultiPoint(corners).convex_hull.buffer(_LIMB)
    for side in ('left', 'right'):
        parts[f'{side}_arm'] = limb(f'{side}_shoulder', f'{side}_elbow', f'{side}_wrist')
    # The neck reaches into the torso, so that a person is one piece.
    neck = LineString([(0, 0.1), (0, 0.2)]).buffer(_LIMB)
    parts['head'] = Point(0, 0.085).buffer(_HEAD).union(neck)
    tilt = np.degrees(rng.uniform(-1, 1) * np.pi / 12)
    parts = {name: affinity.rotate(part, tilt, origin=(0, 0)) for name, part in parts.items()}
    points = np.array([at[name] for name in PERSON_KEYPOINTS]) @ shapes._rotation(np.radians(tilt)).T
    return points, parts


def _hidden_ear(points):
    """Index of the ear on the side to which the nose points, if it points far enough to hide it; else None."""
    nose, left, right = (points[PERSON_KEYPOINTS.index(name)] for name in ('nose', 'left_ear', 'right_ear'))
    towards = np.linalg.norm(nose - left) / np.linalg.norm(nose - right)
    if 0.6 < towards < 1 / 0.6:
        return None
    return PERSON_KEYPOINTS.index('left_ear' if towards < 1 else 'right_ear')


def _paint_person(canvas, points, parts, rng, size, strength, contrast):
    skin, shirt, trousers = (shapes.scene_palette(rng) for _ in range(3))
    for name, part in parts.items():
        colours = skin if name == 'head' else trousers if 'leg' in name else shirt
        shapes._paint(canvas, part, rng, size, strength, contrast, lambda _, colours=colours: colours)
    eyes = Point(points[1]), Point(points[2])
    radius = 0.25 * np.linalg.norm(points[1] - points[2])
    for eye in eyes:
        canvas *= 1 - 0.85 * shapes._fill(eye.buffer(radius), size)[..., None]


def draw_people(spec: FigureSpec, split: str, index: int) -> tuple[np.ndarray, list[dict]]:
    """One image.

    Args:
        spec: what to draw.
        split: ``'train'`` or ``'val'``.
        index: of the image within its split.

    Returns:
        The image, uint8 BGR of (size, size, 3), and its annotations as in COCO but for the ids: ``bbox``, ``area``
        and ``segmentation`` of what is visible, ``keypoints`` (51 numbers) and ``num_keypoints``.
    """
    rng = np.random.default_rng([spec.seed, _FIGURES, shapes._SPLITS[split], index])
    size, hard = spec.size, spec.difficulty
    strength, contrast = 0.3 + 0.7 * hard, 0.35 - 0.25 * hard
    canvas = shapes._texture(rng, size * shapes._SUPERSAMPLE, strength, shapes.scene_palette(rng))
    people = []  # from back to front
    for _ in range(rng.integers(spec.figures[0], spec.figures[1] + 1)):
        height = size * np.exp(rng.uniform(*np.log(spec.scale)))
        points, parts = pose(rng)
        whole = unary_union(list(parts.values()))
        low, high = np.split(np.array(whole.bounds) * height, 2)
        # Up to a tenth of somebody may be outside.
        margin = 0.1 * (high - low)
        room = np.sort(np.stack([-low - margin, size - high + margin]), 0)
        move = rng.uniform(room[0], room[1])
        matrix = [height, 0, 0, height, *move]
        parts = {name: affinity.affine_transform(part, matrix) for name, part in parts.items()}
        people.append((height, points * height + move, parts))
        _paint_person(canvas, *people[-1][1:], rng, size, strength, contrast)
    image = shapes._photograph(canvas, rng, size, blur=0.3 + 0.4 * rng.random(), noise=0.02 + 0.04 * hard)

    annotations, frame, in_front = [], box(0, 0, size, size), Polygon()
    for height, points, parts in reversed(people):
        whole = unary_union(list(parts.values()))
        visible = whole.intersection(frame).difference(in_front)
        pieces = [one for one in getattr(visible, 'geoms', [visible]) if one.geom_type == 'Polygon' and one.area > 2]
        if sum(one.area for one in pieces) >= 0.4 * whole.area:
            labelled = height >= spec.labelled * size
            annotations.append(
                shapes._annotation(pieces, 0, False, size) | _keypoints(points, in_front, size, labelled)
            )
        in_front = in_front.union(whole)
    return image, annotations[::-1]


def _keypoints(points, in_front, size, labelled):
    """COCO's two entries for the keypoints of one person."""
    visibility = np.array([1 if in_front.contains(Point(point)) else 2 for point in points])
    ear = _hidden_ear(points)
    if ear is not None:
        visibility[ear] = 1
    visibility[~((points >= 0) & (points < size)).all(1) | (not labelled)] = 0
    written = np.where(visibility[:, None] > 0, (points - PIXEL_CENTRE).round(2), 0)
    flat = [value for (x, y), v in zip(written.tolist(), visibility.tolist(), strict=True) for value in (x, y, v)]
    return dict(keypoints=flat, num_keypoints=int((visibility > 0).sum()))


def write_figures(root: str | Path, spec: FigureSpec, progress: bool = True) -> bool:
    """Write the data set below ``root``, in COCO's layout.

    A complete data set of the same arguments is left as it is; one that a kill left half done is written again.

    Returns:
        Whether anything was written.

    Raises:
        FileExistsError: ``root`` holds a data set of other arguments.
    """
    root = Path(root)
    bones = [[PERSON_KEYPOINTS.index(name) + 1 for name in bone] for bone in PERSON_SKELETON]
    person = dict(id=1, name='person', supercategory='person', keypoints=PERSON_KEYPOINTS, skeleton=bones)

    def write_split(split):
        images, annotations = [], []
        folder = root / f'{split}2017'
        folder.mkdir(parents=True)
        for index in shapes._progress(range(getattr(spec, split)), f'people, {split}', progress):
            image, people = draw_people(spec, split, index)
            name = f'{index + 1:012d}.jpg'
            shapes._write_image(folder / name, image)
            images.append(dict(id=index + 1, file_name=name, width=spec.size, height=spec.size))
            for one in people:
                annotations.append(dict(id=len(annotations) + 1, image_id=index + 1, **one))
        content = dict(
            info=dict(description='generated by rethink.datasets.stick_figures', **asdict(spec)),
            licenses=[],
            categories=[person],
            images=images,
            annotations=annotations,
        )
        path = root / 'annotations' / f'person_keypoints_{split}2017.json'
        write_atomically(path, json.dumps(content).encode())

    return shapes._write_once(root, spec, write_split)
