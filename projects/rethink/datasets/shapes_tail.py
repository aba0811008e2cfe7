"""A long tail of shapes: ten classes, a few of which are most of the training objects, and crops of all of them alike.

What ImageNet is to LVIS: the classification set has as many crops of every class, and more of them than the scenes
have objects; the scenes have hundreds of objects of the most frequent class and a handful of the rarest. Validation
scenes have as many of every class, so that the AP of a rare class is as well measured as that of a frequent one.

Outlines alone tell the classes apart, as in :mod:`rethink.datasets.shapes`. Crops show one object, large and never
occluded, but in the colours of the scenes, so that what is learnt from them is of use there.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import shapes

# From the most frequent in the training scenes to the rarest; neither half is of one kind of outline.
CLASSES = ('ellipse', 'arrow', 'triangle', 'heart', 'rectangle', 'crescent', 'star', 'angle', 'cross', 'hourglass')


class _Tail:
    classes = CLASSES


@dataclass(frozen=True)
class TailCrops(_Tail, shapes.ClassificationSpec):
    """Crops, as many of every class; arguments as in :class:`rethink.datasets.shapes.ClassificationSpec`."""

    train: int = 8000
    val: int = 500
    difficulty: float = 0.3
    seed: int = 30

    extent = (0.3, 0.75)

    def crop_palette(self, rng: np.random.Generator) -> np.ndarray:
        """That of the scenes."""
        return shapes.scene_palette(rng)


@dataclass(frozen=True)
class TailScenes(_Tail, shapes.DetectionSpec):
    """Scenes; other arguments as in :class:`rethink.datasets.shapes.DetectionSpec`.

    Args:
        decay: how often a class is drawn for a training scene, over how often the one before it is.
    """

    train: int = 400
    val: int = 200
    size: int = 96
    objects: tuple[int, int] = (2, 5)
    scale: tuple[float, float] = (0.16, 0.42)
    difficulty: float = 0.3
    crowd: float = 0.0
    seed: int = 30
    decay: float = 0.72

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.decay <= 1:
            raise ValueError(f'shapes: decay={self.decay} must be above 0 and at most 1, which is no tail.')

    def label(self, split: str, rng: np.random.Generator) -> int:
        """Any class alike in validation; in training, the further back in :data:`CLASSES` the more seldom."""
        if split != 'train':
            return super().label(split, rng)
        weights = self.decay ** np.arange(len(self.classes))
        return rng.choice(len(self.classes), p=weights / weights.sum())


def write_tail(
    root: str | Path, scenes: TailScenes | None = None, crops: TailCrops | None = None, progress: bool = True
) -> None:
    """Write ``root/tail_detection`` (scenes) and ``root/tail_classification`` (crops), what is not there yet.

    Layouts and errors are those of :func:`rethink.datasets.shapes.write_detection` and
    :func:`rethink.datasets.shapes.write_classification`.
    """
    root = Path(root)
    shapes.write_detection(root / 'tail_detection', scenes or TailScenes(), progress)
    shapes.write_classification(root / 'tail_classification', crops or TailCrops(), progress)
