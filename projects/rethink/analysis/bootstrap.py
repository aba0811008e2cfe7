"""How far a measured AP may be off: over validation images that might as well have been others, and over seeds.

The paired bootstrap (Efron and Tibshirani 1993, chapter 16; Koehn 2004 for paired systems): of N validation images N
are drawn, some several times, some never, and AP is computed on these; the same draw for every detector, so that what
makes an image hard cancels in a difference. Matching detections to objects does not depend on other images, so it is
done once, by pycocotools. AP on a draw follows exactly: images that were drawn twice repeat their detections at the
same score, which changes neither the recalls that are reached nor the best precision at or beyond each. (Where two
detections of one image and class have the same score, their copies are in the order of the two, not of the images.)
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats
from tqdm import tqdm

from ..errors import ConfigError
from .class_ap import SIZES, Annotations, check_kind, read_annotations, read_results

RECALLS = np.linspace(0.0, 1.0, 101)
# Draws that are evaluated at a time: enough to spend the time in numpy, few enough for little memory.
_AT_A_TIME = 50
_DETECTIONS = dict(bbox=100, segm=100, keypoints=20)


@dataclass(frozen=True)
class _Ranked:
    """What was found of a class (at one IoU threshold: of objects of one size), by falling score.

    Args:
        images: (D,) index of the image of each detection.
        objects: (N,) objects to find in each image.
        hits: for each IoU threshold, positions among the detections of those that match an object.
        ignored: for each, positions of those that do not count: on a crowd, or of another size.
    """

    images: np.ndarray
    objects: np.ndarray
    hits: list[np.ndarray]
    ignored: list[np.ndarray]

    def ap(self, drawn: np.ndarray) -> np.ndarray:
        """AP at each IoU threshold on draws of images.

        Args:
            drawn: (R, N) how often each image was drawn, whole numbers.

        Returns:
            (R, T) from 0 to 1; nan in a draw without an object.
        """
        total = drawn @ self.objects
        counted = np.cumsum(drawn[:, self.images], 1)
        found = np.zeros((len(drawn), len(self.hits)))
        for threshold, (hits, ignored) in enumerate(zip(self.hits, self.ignored, strict=True)):
            if not len(hits):
                continue
            right = np.cumsum(drawn[:, self.images[hits]], 1)
            detections = counted[:, hits]
            if len(ignored):
                before = np.searchsorted(ignored, hits)
                off = np.cumsum(drawn[:, self.images[ignored]], 1)
                detections = detections - np.where(before, off[:, before - 1], 0)
            with np.errstate(invalid='ignore', divide='ignore'):
                recall = right / total[:, None]
                precision = right / (detections + np.spacing(1))
            precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
            for row in np.flatnonzero(total):
                at = np.searchsorted(recall[row], RECALLS)
                found[row, threshold] = precision[row, at[at < len(hits)]].sum() / len(RECALLS)
        found[total == 0] = np.nan
        return found


@dataclass(frozen=True)
class Matches:
    """What a detector found on the validation images, matched to their objects.

    Args:
        kind: ``'bbox'``, ``'segm'`` or ``'keypoints'``.
        images: ids, as the annotation file has them.
        classes: names, in its order.
        ranked: size -> for each class what was found.
    """

    kind: str
    images: tuple
    classes: tuple[str, ...]
    ranked: dict[str, list[_Ranked]]

    def by_class(self, drawn: np.ndarray, size: str = 'all') -> np.ndarray:
        """AP of each class and IoU threshold 0.5, 0.55, … 0.95 on draws of images.

        Args:
            drawn: (R, N) how often each image was drawn.

        Returns:
            (R, C, T) from 0 to 1; nan in a draw without an object of the class.
        """
        return np.stack([of.ap(drawn) for of in self.ranked[size]], 1)

    def metrics(self, drawn: np.ndarray) -> dict[str, np.ndarray]:
        """What MMDetection's CocoMetric logs, under its names, (R,) each from 0 to 1; and ``'classes'``, (R, C)."""
        found = {}
        with np.errstate(invalid='ignore'):
            for size in self.ranked:
                ap = self.by_class(drawn, size)
                if size == 'all':
                    means = dict(zip(('', '_50', '_75'), (ap, ap[..., :1], ap[..., 5:6]), strict=True))
                    found['classes'] = ap.mean(-1)
                else:
                    means = {f'_{size[0]}': ap}
                for suffix, values in means.items():
                    found[f'coco/{self.kind}_mAP{suffix}'] = _mean(values.mean(-1))
        return found


def _mean(values: np.ndarray) -> np.ndarray:
    """Over classes that have objects, (R,); nan where none has."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)


def read_matches(
    annotations: str | os.PathLike, results: str | os.PathLike, kind: str = 'bbox', sizes: Sequence[str] = SIZES
) -> Matches:
    """Match a results file to an annotation file, as pycocotools does for MMDetection's CocoMetric.

    All images of the annotation file count, as in a test of all of them.

    Args:
        annotations: COCO's file.
        results: as CocoMetric writes it with ``outfile_prefix``.
        kind: ``'bbox'``, ``'segm'``, or ``'keypoints'`` with COCO's 17 of a person.
        sizes: of objects, see :data:`rethink.analysis.class_ap.SIZES`.

    Raises:
        ConfigError: one of the two is no such file, or they do not belong together.
    """
    truth = read_annotations(annotations)
    check_kind(truth, False, kind)
    empty = os.path.isfile(results) and os.path.getsize(results) < 8  # '[]': nothing at all was detected
    found = [] if empty else read_results(results, truth, kind)
    if kind == 'keypoints' and any(len(one['keypoints']) != 3 * 17 for one in truth.objects):
        raise ConfigError(f'{annotations} has other key points than the 17 of COCO, of which no interval is known.')
    evaluated = _evaluate(truth, found, kind)
    parameters = evaluated.params
    areas = [label for label in parameters.areaRngLbl if label in sizes]
    place = {image: index for index, image in enumerate(parameters.imgIds)}
    every = iter(evaluated.evalImgs)
    ranked: dict[str, list[_Ranked]] = {size: [] for size in areas}
    for _ in parameters.catIds:
        for area in parameters.areaRngLbl:
            of_images = [one for one in (next(every) for _ in parameters.imgIds) if one is not None]
            if area in ranked:
                ranked[area].append(_rank(of_images, place, len(parameters.iouThrs)))
    names = tuple(truth.names[category] for category in parameters.catIds)
    return Matches(kind, tuple(parameters.imgIds), names, ranked)


def _evaluate(truth: Annotations, found: list[dict], kind: str) -> COCOeval:
    # Numbered anew: a file that counts from 0 would lose its first object, as 0 is "no match" in pycocotools.
    objects = [dict(one, id=number, iscrowd=one.get('iscrowd', 0)) for number, one in enumerate(truth.objects, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = COCO(), COCO()
        shared = dict(images=list(truth.images.values()), categories=list(truth.categories.values()), info={})
        for side, content in zip(sides, (objects, []), strict=True):
            side.dataset = dict(shared, annotations=content)
            side.createIndex()
        # loadRes writes into the detections.
        detected = sides[0].loadRes([dict(one) for one in found]) if found else sides[1]
        evaluated = COCOeval(sides[0], detected, kind)
        evaluated.params.maxDets = [_DETECTIONS[kind]]
        evaluated.evaluate()
    return evaluated


def _rank(of_images: list[dict], place: dict, thresholds: int) -> _Ranked:
    objects = np.zeros(len(place))
    for one in of_images:
        objects[place[one['image_id']]] = np.count_nonzero(~np.asarray(one['gtIgnore'], bool))
    scores = [np.asarray(one['dtScores']) for one in of_images]
    # As pycocotools sorts them: in equal scores the order of the images.
    order = np.argsort(-np.concatenate([*scores, []]), kind='mergesort')
    images = np.repeat([place[one['image_id']] for one in of_images], [len(one) for one in scores]).astype(int)

    def joined(key: str) -> np.ndarray:
        parts = [np.asarray(one[key], bool).reshape(thresholds, -1) for one in of_images]
        return np.concatenate([*parts, np.zeros((thresholds, 0), bool)], 1)[:, order]

    matched, ignored = joined('dtMatches'), joined('dtIgnore')
    hits = [np.flatnonzero(row) for row in matched & ~ignored]
    return _Ranked(images[order], objects, hits, [np.flatnonzero(row) for row in ignored])


def draws(images: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """How often each image is in each of so many draws, (up to 50, ``images``) float64 at a time."""
    random = np.random.default_rng(seed)
    edges = [*range(0, resamples, _AT_A_TIME), resamples]
    for start, end in pairwise(edges):
        yield random.multinomial(images, np.full(images, 1 / images), end - start).astype(float)


def resample(arms: Sequence[Matches], resamples: int = 1000, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """What each detector's metrics are on draws of images, which are the same for all of them.

    Returns:
        For each detector :meth:`Matches.metrics` of all draws; any expression of them has a paired distribution.

    Raises:
        ConfigError: the detectors were not tested on the same images and classes.
    """
    first = arms[0]
    for other in arms[1:]:
        if (other.images, other.classes) != (first.images, first.classes):
            raise ConfigError(
                'two detectors are to be compared that were tested on different images or classes; test both on one '
                'annotation file.'
            )
    parts: list[list[dict]] = [[] for _ in arms]
    every = 0.5 if sys.stderr.isatty() else 30
    with tqdm(total=resamples, desc='resampling images', mininterval=every, delay=2, leave=False) as bar:
        for drawn in draws(len(first.images), resamples, seed):
            for part, arm in zip(parts, arms, strict=True):
                part.append(arm.metrics(drawn))
            bar.update(len(drawn))
    return [{name: np.concatenate([one[name] for one in part]) for name in part[0]} for part in parts]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of a distribution over draws; draws without a value, nan, are left out."""
    low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def student(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of differences, one for each seed.

    Args:
        values: at least two; of equal ones the interval is that one value.
    """
    middle = float(np.mean(values))
    half = stats.t.ppf(0.5 + level / 2, len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return middle - half, middle + half
