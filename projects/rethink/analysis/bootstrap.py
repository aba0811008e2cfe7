"""Intervals: what another draw of the validation images, or of seeds, might have said of a difference.

The paired bootstrap (Efron and Tibshirani 1993, chapters 8 and 13): as many images as there are, drawn with
replacement and the same for all arms; each draw is evaluated. Detections are matched to objects within an image, so
that pycocotools matches once, and a draw counts the matches of an image as often as the image was drawn. That gives
the numbers of pycocotools on files in which the image stands so often.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from scipy import sparse, stats

from ..errors import ConfigError, some_names
from .class_ap import check_kind, evaluations, evaluator, progress, read_annotations, read_results

_THRESHOLDS = 10  # of IoU or OKS, 0.5 to 0.95
_RECALLS = np.linspace(0, 1, 101)  # at which COCO reads precision
_THREADS = 8
_BYTES = 2**28  # of a thread's precisions, so that all take 2 GiB at most


class Values(NamedTuple):
    """Metrics of some draws as the training's log has them, float64; nan where there is nothing to find.

    Args:
        all: (…, metrics), in the order of the arm's ``names``.
        classes: (…, classes, metrics), of each class by itself; (…, 0, metrics) where there are none.
    """

    all: np.ndarray
    classes: np.ndarray


class Interval(NamedTuple):
    """A value, and between what it lies for all that is known of the noise."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1, or 0 where the noise may be all of it."""
        return int(self.low > 0) - int(self.high < 0)


# --- arms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy of a classifier in per cent, as MMPretrain logs it.

    Args:
        correct: whether the class of an image was found, (N,) bool, in the same order for all arms.
    """

    correct: np.ndarray
    names: ClassVar[tuple[str, ...]] = ('accuracy/top1',)
    classes: ClassVar[tuple[str, ...]] = ()

    @property
    def images(self) -> np.ndarray:
        return np.arange(len(self.correct))

    @property
    def objects(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(np.ones((1, len(self.correct)), np.int32))

    def metrics(self, weights: np.ndarray | None = None, done: Callable[[int], object] = lambda draws: None) -> Values:
        """As :meth:`Matches.metrics`."""
        weights = _checked(weights, len(self.correct))
        found = 100 * (weights @ self.correct.astype(float)) / weights.sum(-1)
        done(weights.size // len(self.correct))
        return Values(found[..., None], np.empty((*found.shape, 0, 1)))


class Ranked(NamedTuple):
    """The D detections of a class that count for a size at some threshold, the highest score first.

    Args:
        image: index of its image, (D,) int32.
        counted: not ignored, (thresholds, D) bool.
        right: counted and matched, (thresholds, D) bool.
        group: number of those of one image and score, (D,) int, rising.
        mixed: whether of its group some are right and some are not, at any threshold, (D,) bool.
    """

    image: np.ndarray
    counted: np.ndarray
    right: np.ndarray
    group: np.ndarray
    mixed: np.ndarray


@dataclass(frozen=True)
class Matches:
    """Which detections of N images are right, for each class, object size and threshold.

    Args:
        metric: ``'bbox'``, ``'segm'`` or ``'keypoints'``.
        images: ids, (N,), sorted.
        classes: names, in the order of their ids.
        sizes: names of object sizes, ``'all'`` first.
        frequencies: of LVIS' classes, ``'r'``, ``'c'`` or ``'f'``; None in COCO.
        objects: how many are to be found, (classes · sizes, N) int32; sizes of a class beside each other.
        ranked: the detections of each class and size, in the order of the rows of ``objects``; None of a class
            without an object.
    """

    metric: str
    images: np.ndarray
    classes: tuple[str, ...]
    sizes: tuple[str, ...]
    frequencies: tuple[str, ...] | None
    objects: sparse.csr_matrix
    ranked: tuple[Ranked | None, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the metrics, as the log has them: ``coco/bbox_mAP``, … and in LVIS ``lvis/bbox_AP``, …"""
        lvis = self.frequencies is not None
        start = f'lvis/{self.metric}_AP' if lvis else f'coco/{self.metric}_mAP'
        return tuple(start + ('_' if end and not lvis else '') + end for end, *_ in self._parts)

    @property
    def _parts(self) -> list[tuple]:
        """Of each metric the end of its name, and of what precisions it is the mean: size, thresholds, classes."""
        whole, every = slice(None), np.full(len(self.classes), True)
        parts = [('', 0, whole, every), ('50', 0, slice(0, 1), every), ('75', 0, slice(5, 6), every)]
        parts += [(size[0], at, whole, every) for at, size in enumerate(self.sizes) if at]
        if self.frequencies is not None:
            parts += [(group, 0, whole, np.array(self.frequencies) == group) for group in 'rcf']
        return parts

    def metrics(self, weights: np.ndarray | None = None, done: Callable[[int], object] = lambda draws: None) -> Values:
        """Metrics of draws of the images.

        They are those of pycocotools, to the bit, on files in which each image stands so often, its copies side by
        side and in the order of the ids, which is the order of detections of equal score. A class that has no object
        in a draw is left out of its mean, as there.

        Args:
            weights: how often each image is drawn, (N,) or (draws, N) int; None for once.
            done: is told of how many more draws the metrics are known.

        Raises:
            ValueError: weights of another shape or kind.
        """
        weights = _checked(weights, len(self.images))
        draws = np.atleast_2d(weights).astype(np.int32)
        mixed = any(one is not None and one.mixed.any() for one in self.ranked)
        copies = int(draws.max()) if mixed else 0
        sums = self._sums(copies)
        step = max(1, min(100, _BYTES // (8 * self.objects.shape[0] * _THRESHOLDS * len(_RECALLS))))
        found = []
        with ThreadPoolExecutor(min(_THREADS, _cores())) as pool:
            parts = [draws[at : at + step] for at in range(0, len(draws), step)]
            for values in pool.map(lambda part: self._means(self._precisions(part, sums, copies)), parts):
                found.append(values)
                done(len(values.all))
        return Values(
            *(np.concatenate(of).reshape(*weights.shape[:-1], *of[0].shape[1:]) for of in zip(*found, strict=True))
        )

    def _sums(self, copies: int) -> list[tuple]:
        """What is to be added up for each class, size and threshold that has n right detections.

        A list of place in the precisions; column of each right detection, (n,); and the detections that count up to it
        from the one before, (n, columns). Columns are weights: N of how often an image was drawn, N of whether it was
        drawn at all, N of whether twice, and so on.

        A detection of an image that is drawn twice is there twice. Where it has the score of another one of its
        image, and only one of the two is right, they are there in turns, as they would stand in the files.
        """
        found, images = [], len(self.images)
        for row, one in enumerate(self.ranked):
            if one is None:
                continue
            times = np.where(one.mixed, copies, 1)
            at = np.repeat(np.arange(len(times)), times)
            copy = np.arange(len(at)) - np.repeat(np.cumsum(times) - times, times)
            turns = np.lexsort((at, copy, one.group[at]))
            at = at[turns]
            column = one.image[at] + images * np.where(one.mixed[at], 1 + copy[turns], 0)
            for threshold, (counted, right) in enumerate(zip(one.counted[:, at], one.right[:, at], strict=True)):
                ends = 1 + np.flatnonzero(right[counted])
                if len(ends):
                    of = column[counted][: ends[-1]]
                    since = sparse.csr_matrix(
                        (np.ones(len(of), np.int32), of, np.concatenate([[0], ends])),
                        (len(ends), images * (1 + copies)),
                    )
                    found.append((*divmod(row, len(self.sizes)), threshold, of[ends - 1], since))
        return found

    def _precisions(self, draws: np.ndarray, sums: list[tuple], copies: int) -> np.ndarray:
        """Precision of R draws as pycocotools has it, -1 without an object.

        (classes, sizes, thresholds, R, recalls) float64.
        """
        weights = np.ascontiguousarray(draws.T)
        objects = (self.objects @ weights).reshape(len(self.classes), len(self.sizes), -1)
        columns = np.concatenate([weights, *(weights >= 1 + copy for copy in range(copies))])
        table = np.zeros((*objects.shape[:2], _THRESHOLDS, len(draws), len(_RECALLS)))
        for category, size, threshold, right, since in sums:
            of = np.maximum(objects[category, size], 1)
            _precision(columns[right], since @ columns, of, table[category, size, threshold])
        table.swapaxes(2, 3)[objects == 0] = -1
        return table

    def _means(self, table: np.ndarray) -> Values:
        of_all, of_classes = [], []
        for _, size, thresholds, members in self._parts:
            part = table[:, size, thresholds]
            there = (part[:, 0, :, 0].T > -1) & members
            # Sums in pycocotools' order, so that the bits are the same.
            by_recall = np.ascontiguousarray(part.transpose(2, 1, 3, 0))
            by_class = np.ascontiguousarray(part.transpose(2, 0, 1, 3)).reshape(*there.shape, -1)
            chosen = [one if row.all() else one[..., row] for one, row in zip(by_recall, there, strict=True)]
            of_all.append([one.ravel().mean() if one.size else np.nan for one in chosen])
            of_classes.append(np.where(there, by_class.mean(-1), np.nan))
        return Values(np.array(of_all).T, np.stack(of_classes, -1))


def _precision(right: np.ndarray, since: np.ndarray, objects: np.ndarray, out: np.ndarray) -> None:
    """Precision of R draws at each recall.

    A detection that comes twice changes nothing but the sums: recall grows at right ones alone, and precision between
    two of these is below that at the first.

    Args:
        right: how often each of n right detections comes, the highest score first, (n, R) int32.
        since: detections that count, from the right one before, which is left out, up to it, (n, R) int32.
        objects: to be found, (R,).
        out: gets the precisions, (R, recalls) float64.
    """
    found = right.cumsum(0, dtype=float)
    highest = np.zeros((len(found) + 1, len(objects)))  # at this recall or above; 0 at one that is not reached
    np.divide(found, since.cumsum(0, dtype=float) + np.spacing(1), out=highest[:-1])
    np.maximum.accumulate(highest[::-1], 0, out=highest[::-1])
    found /= objects
    # How many recalls are reached: a rounded product, and a look at whether the float of the last one is.
    reached = (100 * found + 1e-9).astype(np.intp)
    reached += _RECALLS[reached] <= found
    # The first detection to reach a recall has so many before it that do not.
    bins, draws = len(_RECALLS) + 1, np.arange(len(objects))
    counts = np.bincount((reached + bins * draws).ravel(), minlength=bins * len(draws)).reshape(-1, bins)
    first = counts[:, :-1].cumsum(1)
    np.take(highest, first * len(draws) + draws[:, None], out=out, mode='clip')  # which needs no copy; all are inside


def _checked(weights: np.ndarray | None, images: int) -> np.ndarray:
    if weights is None:
        return np.ones(images, np.int32)
    weights = np.asarray(weights)
    if weights.dtype.kind not in 'iu' or weights.ndim not in (1, 2) or weights.shape[-1] != images:
        raise ValueError(
            f'weights are whole numbers of shape ({images},) or (draws, {images}), not {weights.dtype} of shape '
            f'{weights.shape}.'
        )
    if weights.size == 0 or weights.min() < 0 or not weights.any(-1).all():
        raise ValueError('an image is drawn 0 times or more often, and a draw has an image.')
    return weights


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_matches(annotations: str | os.PathLike, results: str | os.PathLike, metric: str = 'bbox') -> Matches:
    """Match the detections of a results file, by pycocotools; all images of the annotation file count.

    A file without a detection has an AP of 0. Of an image and class the 100 best detections count (20 by keypoints),
    of an image of LVIS the 300 best, as in :func:`.class_ap.class_ap`. A mask's size is its own, that of a person
    found by keypoints their extent.

    Args:
        annotations: of COCO, or of LVIS.
        results: ``PREFIX.bbox.json``, ``.segm.json`` or ``.keypoints.json``.
        metric: ``'bbox'``, ``'segm'`` or ``'keypoints'``.

    Raises:
        ConfigError: a file is missing, no such file, of another data set, or lacks what the metric needs; pycocotools
            is missing.
    """
    api = evaluator(lvis=False)
    truth = read_annotations(annotations, masks=metric == 'segm')
    check_kind(truth, truth.federated, metric)
    found = read_results(results, truth, metric, may_be_empty=True)
    images = {image: at for at, image in enumerate(sorted(truth.images))}
    categories = sorted(truth.categories)
    ranked, objects = {}, []
    for category, evaluated in evaluations(truth, found, metric, api, os.path.basename(results)):
        sizes, many = tuple(evaluated.params.areaRngLbl), len(evaluated.params.imgIds)
        for at in range(len(sizes)):
            of = evaluated.evalImgs[at * many : (at + 1) * many]
            row = categories.index(category) * len(sizes) + at
            ranked[row] = _rank(of, images, _open_images(truth, category))
            objects += [(np.count_nonzero(one['gtIgnore'] == 0), row, images[one['image_id']]) for one in of]
    counts, rows, columns = np.array(objects).T
    rows_of_all = len(categories) * len(sizes)
    return Matches(
        metric,
        np.array(list(images)),
        tuple(truth.names[category] for category in categories),
        sizes,
        tuple(truth.categories[one].get('frequency', '') for one in categories) if truth.federated else None,
        sparse.csr_matrix((counts, (rows, columns)), (rows_of_all, len(images)), dtype=np.int32),
        tuple(ranked.get(row) for row in range(rows_of_all)),
    )


def _open_images(truth, category: int) -> set:
    """Images in which there may be objects of a class of LVIS that are not annotated."""
    return {number for number, one in truth.images.items() if category in one.get('not_exhaustive_category_ids', ())}


def _rank(of: list[dict], images: dict, open_images: set) -> Ranked:
    """Sort the detections of a class and size.

    Args:
        of: pycocotools' ``evaluateImg`` of each image that has something of the class.
        images: id -> index.
        open_images: where what matches no object is ignored.
    """
    many = [len(one['dtScores']) for one in of]
    image = np.repeat(np.array([images[one['image_id']] for one in of], np.int32), many)
    score = np.concatenate([one['dtScores'] for one in of])
    matched = np.concatenate([one['dtMatches'] for one in of], 1) > 0
    ignored = np.concatenate([one['dtIgnore'] for one in of], 1).astype(bool)
    ignored |= ~matched & np.repeat([one['image_id'] in open_images for one in of], many)
    order = np.argsort(-score, kind='stable')
    order = order[~ignored[:, order].all(0)]
    image, score, counted, right = image[order], score[order], ~ignored[:, order], (matched & ~ignored)[:, order]
    same = (image[1:] == image[:-1]) & (score[1:] == score[:-1])
    group = np.concatenate([[0], np.cumsum(~same)])[: len(image)]
    unlike = (counted[:, 1:] != counted[:, :-1]) | (right[:, 1:] != right[:, :-1])
    mixed = np.isin(group, group[1:][same & unlike.any(0)])
    return Ranked(image, counted, right, group, mixed)


# --- intervals -------------------------------------------------------------------------------------------------------


def resample(arms: Sequence[Matches | Accuracy], resamples: int = 1000, seed: int = 0) -> Values:
    """Metrics of all images, and of draws of them that are the same for all arms; shows progress.

    Args:
        arms: what was measured on the same images, by the same metrics, or some by boxes and some by masks.

    Returns:
        ``all`` of (arms, 1 + resamples, metrics) and ``classes`` of (arms, 1 + resamples, classes, metrics). The first
        draw has each image once, so that what is computed of arms and metrics, such as ``all[1] - all[0]``, has the
        measured value in front, as :func:`interval` wants it.

    Raises:
        ConfigError: the arms are of other images, classes or objects, or have another number of metrics.
    """
    for number, arm in enumerate(arms[1:], 2):
        _check_pair(arms[0], arm, number)
    images = len(arms[0].images)
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), resamples)
    weights = np.concatenate([np.ones((1, images), drawn.dtype), drawn])
    with progress(len(arms) * len(weights), 'bootstrap', ' draws') as bar:
        found = [arm.metrics(weights, bar.update) for arm in arms]
    return Values(*(np.stack(of) for of in zip(*found, strict=True)))


def _check_pair(one: Matches | Accuracy, other: Matches | Accuracy, number: int) -> None:
    differ = None
    if len(one.names) != len(other.names):
        differ = f'metrics ({some_names(set(one.names) ^ set(other.names))})'
    elif one.classes != other.classes:
        alone = set(one.classes) ^ set(other.classes)
        differ = f'classes (only one of the two has {some_names(alone)})' if alone else 'ids of the same classes'
    elif not np.array_equal(one.images, other.images):
        common = len(set(one.images.tolist()) & set(other.images.tolist()))
        differ = f'images ({len(other.images)} and {len(one.images)}, of which {common} are in both)'
    elif (one.objects != other.objects).nnz:
        differ = 'objects in the same images'
    if differ:
        raise ConfigError(
            f'results {number} and 1 cannot be compared draw by draw, as they are of other {differ}; evaluate both on '
            'the same annotations.'
        )


def interval(values: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of a value that was computed of :func:`resample`.

    A draw without a value (nan: it has no object of the class) may have had any. It counts as below the lower end and
    as above the upper one, so that the interval of a class which many draws lack has no ends: -inf, inf.

    Args:
        values: (1 + resamples,), that of all images first.

    Raises:
        ValueError: too few resamples for the level.
    """
    value, drawn = values[0], np.asarray(values[1:], float)
    if len(drawn) * (1 - level) < 2:
        raise ValueError(f'{len(drawn)} resamples have no {100 * level:g} % interval; draw more of them.')
    none = np.isnan(drawn)
    low = np.quantile(np.where(none, -np.inf, drawn), (1 - level) / 2, method='lower')
    high = np.quantile(np.where(none, np.inf, drawn), (1 + level) / 2, method='higher')
    return Interval(float(value), float(low), float(high))


def student(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean of values that differ by seed alone, such as the differences of two arms, and Student's interval of it.

    One value says nothing of the noise between seeds: its interval has no ends.
    """
    value, half = float(np.mean(values)), np.inf
    if len(values) > 1:
        half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))
    return Interval(value, value - half, value + half)
