"""A problem of an annotation file, the use that it is one for, and what all that look at a file ask of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..datasets.annotations import Annotations, Fault, code_of


@dataclass(frozen=True)
class Use:
    """What a run does with a file.

    Args:
        trains: on it.
        scores: against it.
        masks: are loaded or scored.
        keypoints: their number, where they are loaded or scored.
        lvis: takes LVIS's classes, all of the file by their places.
        federated: scores by LVIS's rules, and not by pycocotools.
        urls: LVIS v1 finds images by ``coco_url``.
        classes: that a config takes; None for all of the file.
        filter_cfg: of the data set.
        elsewhere: categories with annotations in other files that are trained on.
    """

    trains: bool = True
    scores: bool = True
    masks: bool = False
    keypoints: int | None = None
    lvis: bool = False
    federated: bool = False
    urls: bool = False
    classes: tuple[str, ...] | None = None
    filter_cfg: dict = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Problem:
    """One kind of thing that is wrong in a file.

    Args:
        kind: a word for it.
        level: as of :class:`~rethink.checks.findings.Finding`.
        what: one sentence, with number and first those.
        fix: what to do.
        sure: it is so; otherwise the numbers suggest it, and a person may know better.
    """

    kind: str
    level: str
    what: str
    fix: str
    sure: bool = True


class Seen:
    """What several rules ask of a file."""

    def __init__(self, a: Annotations, use: Use) -> None:
        self.image = _lookup(a.image_ids, a.of_image)
        self.category_ids = np.array([code_of(one.get('id')) for one in a.categories], np.int64)
        self.category = _lookup(self.category_ids, a.of_category)
        chosen = [use.classes is None or use.lvis or one.get('name') in use.classes for one in a.categories]
        self.chosen = np.array(chosen, bool)
        both = self.category[(self.category >= 0) & (self.image >= 0)]
        self.counts = np.bincount(both, minlength=len(a.categories))
        # Of their images, NaN where there is none: the last place, which -1 means.
        sizes = np.vstack([a.sizes, np.full((1, 2), np.nan, np.float32)])
        self.sizes = np.stack([sizes[:, 0][self.image], sizes[:, 1][self.image]]).T

    @property
    def wanted(self) -> np.ndarray:
        """Objects of an image and of a class."""
        found = (self.image >= 0) & (self.category >= 0)
        found[found] = self.chosen[self.category[found]]
        return found


def _lookup(keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The last place of each value among the keys, -1 where it is not."""
    if not len(keys):
        return np.full(len(values), -1)
    if keys.min() >= 0 and keys.max() < 8 * len(keys) + (1 << 20):  # a table of all ids is smaller than the columns
        table = np.full(keys.max() + 2, -1)
        table[keys] = np.arange(len(keys))
        return table[np.where((values >= 0) & (values <= keys.max()), values, -1)]
    order = np.argsort(keys, kind='stable')
    place = np.searchsorted(keys, values, side='right', sorter=order) - 1
    found = order[np.maximum(place, 0)]
    return np.where((place >= 0) & (keys[found] == values), found, -1)


def those(a: Annotations, where: np.ndarray, what: str = 'annotations') -> str:
    """Such as ``3 of 20 annotations (ids 4, 7, 9)``."""
    ids = a.image_ids if what == 'images' else a.ids
    first = [str(a.id_of(code)) for code in ids[np.flatnonzero(where)[:4]]]
    number = int(where.sum())
    more = f' and {number - len(first):,} more' if number > len(first) else ''
    return f'{number:,} of {len(ids):,} {what} (id {", ".join(first)}{more})'


def faulty(a: Annotations, kind: str, words: dict[Fault, str], fix: str) -> Iterator[Problem]:
    for fault, how in words.items():
        where = (a.faults & fault) > 0
        if where.any():
            yield Problem(kind, 'error', f'{those(a, where)} of {a.path} {how}.', fix)


def trainable(a: Annotations, seen: Seen) -> np.ndarray:
    """Objects that ``CocoDataset`` does not leave out."""
    with np.errstate(invalid='ignore'):
        shown = np.minimum(a.boxes[:, :2] + a.boxes[:, 2:], seen.sizes) - np.maximum(a.boxes[:, :2], 0)
        kept = (shown > 0).all(1) & (a.boxes[:, 2:] >= 1).all(1) & ~(a.areas <= 0)
    return kept & seen.wanted & ((a.faults & Fault.IGNORED) == 0)
