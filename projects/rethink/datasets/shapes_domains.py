"""Two worlds of shapes: a varied source in large numbers, and a target that looks different and has few images.

Hierarchical pre-training goes from a large, general data set to a small one of another kind (Reed et al. 2022). Here
outlines, backgrounds and places are drawn as in :mod:`rethink.datasets.shapes`, with two differences:

* the source is a mix: each picture as it is, vivid, negative, faded, or dark with a tint, by chance;
* the target is what a thermal camera might give: one channel, warm and cold apart from light and dark, its own gain,
  and the stripes of a sensor that is read out column by column. Objects of a class are of one material (bars, checks
  or grain), as many things are; in the source, material says nothing about the class.

Labels are there as everywhere (the folders of the crops, the boxes of the scenes); pre-training does not read them.
The streams of random numbers differ, so that no outline of the source is one of the target.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import shapes

SOURCE_LOOKS = ('plain', 'vivid', 'negative', 'faded', 'dark')


def source_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture of the source: uint8 BGR of (H, W, 3), to the same under one of :data:`SOURCE_LOOKS` by chance."""
    look = SOURCE_LOOKS[rng.integers(len(SOURCE_LOOKS))]
    pixels = image.astype(np.float32) / 255
    if look == 'vivid':
        grey = pixels.mean(2, keepdims=True)
        pixels = grey + rng.uniform(2, 4) * (pixels - grey)
    elif look == 'negative':
        pixels = 1 - pixels
    elif look == 'faded':
        pixels = rng.uniform(0.2, 0.5) + rng.uniform(0.4, 0.6) * pixels
    elif look == 'dark':
        pixels = pixels ** rng.uniform(1.5, 2.5) * rng.uniform(0.6, 1, 3)
    return _pixels(pixels)


def target_look(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A picture of the target: uint8 BGR of (H, W, 3), to one of three equal channels, as in a thermal image."""
    # What is warm has nothing to do with what is bright: the channels count in proportions of their own.
    share = rng.dirichlet([1, 1, 1])
    heat = cv2.GaussianBlur((image.astype(np.float32) / 255) @ share.astype(np.float32), (0, 0), rng.uniform(0.4, 0.8))
    # Such cameras set their own gain.
    heat = rng.uniform(0.25, 0.5) + rng.uniform(0.08, 0.14) * (heat - heat.mean()) / max(heat.std(), 0.01)
    height, width = heat.shape
    heat = heat + rng.normal(0, 0.015, width) + rng.normal(0, 0.01, (height, width))
    return _pixels(np.repeat(heat[..., None], 3, axis=2))


def _pixels(values: np.ndarray) -> np.ndarray:
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


# Kind, angle and period of each class, in the order of CLASSES; the period of a grain is not used.
_MATERIALS = (
    shapes.Material(1, 0.0, 5.0),
    shapes.Material(1, np.pi / 2, 5.0),
    shapes.Material(1, 0.0, 10.0),
    shapes.Material(2, np.pi / 4, 7.0),
    shapes.Material(0, 0.0, 0.0),
)


def target_material(label: int, rng: np.random.Generator) -> shapes.Material:
    """That of a class in the target, with an angle of up to 20 degrees and a period of up to a fifth more or less."""
    kind, angle, period = _MATERIALS[label]
    return shapes.Material(kind, angle + rng.uniform(-1, 1) * np.pi / 9, period * rng.uniform(0.8, 1.2))


class _Source:
    def look(self, image, rng):
        return source_look(image, rng)


class _Target:
    def material(self, label, rng):
        return target_material(label, rng)

    def look(self, image, rng):
        return target_look(image, rng)


@dataclass(frozen=True)
class SourceCrops(_Source, shapes.ClassificationSpec):
    """Crops of the source; arguments as in :class:`rethink.datasets.shapes.ClassificationSpec`, and

    Args:
        extent: smallest and largest object, as the square root of its area over ``size``.
    """

    train: int = 5000
    val: int = 50
    seed: int = 10
    extent: tuple[float, float] = (0.5, 0.75)


@dataclass(frozen=True)
class TargetCrops(_Target, shapes.ClassificationSpec):
    """Crops of the target, a tenth as many."""

    train: int = 500
    val: int = 1000
    seed: int = 20
    extent: tuple[float, float] = (0.5, 0.75)


@dataclass(frozen=True)
class TargetScenes(_Target, shapes.DetectionSpec):
    """Scenes of the target, for detection; arguments as in :class:`rethink.datasets.shapes.DetectionSpec`."""

    train: int = 300
    val: int = 200
    size: int = 192
    objects: tuple[int, int] = (2, 5)
    scale: tuple[float, float] = (0.15, 0.4)
    crowd: float = 0.0
    seed: int = 20


def write_domains(
    root: str | Path,
    source: SourceCrops | None = None,
    target: TargetCrops | None = None,
    scenes: TargetScenes | None = None,
    progress: bool = True,
) -> None:
    """Write ``root/source`` and ``root/target`` (crops) and ``root/target_detection`` (scenes), what is not there yet.

    Layouts and errors are those of :func:`rethink.datasets.shapes.write_classification` and
    :func:`rethink.datasets.shapes.write_detection`.
    """
    root = Path(root)
    shapes.write_classification(root / 'source', source or SourceCrops(), progress)
    shapes.write_classification(root / 'target', target or TargetCrops(), progress)
    shapes.write_detection(root / 'target_detection', scenes or TargetScenes(), progress)
