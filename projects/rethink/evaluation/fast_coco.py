"""COCO's evaluation by faster_coco_eval, from arrays: the numbers of pycocotools in a fraction of its time.

Similarities are pycocotools' own, or computed as there, where an image has both objects and detections of a class;
matching and precision are compiled. Images, classes and objects are numbered anew, so that ids may be of any kind.

Importing this raises an ``ImportError`` where faster_coco_eval is missing or older than what it takes here.
"""

import contextlib
import dataclasses
import gc
import importlib.metadata
from collections import defaultdict

import numpy as np
from faster_coco_eval import COCOeval_faster
from mmengine.utils import digit_version
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

VERSION = importlib.metadata.version('faster-coco-eval')
_SINCE = '1.8'  # its Dataset takes references
if digit_version(VERSION) < digit_version(_SINCE):
    raise ImportError(f'faster-coco-eval is {VERSION}, older than {_SINCE}')


class NotComparable(Exception):
    """A similarity is not a number, of which pycocotools makes a match and faster_coco_eval none."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """Detections of I images, N in all, one image after the other.

    Args:
        images: ids, (I,), of any kind; one may come more than once.
        many: detections of each, (I,) int.
        categories: ids, (N,).
        scores: (N,) float64.
        areas: in square pixels, (N,) float64.
        shapes: boxes (x, y, width, height), (N, 4) float64; or N masks, RLE; or keypoints (x, y), (N, K, 2) float64.
    """

    images: list
    many: list[int]
    categories: np.ndarray
    scores: np.ndarray
    areas: np.ndarray
    shapes: np.ndarray | list[dict]


class FastCOCOeval(COCOeval):
    """pycocotools' ``COCOeval`` for :class:`Detections`. Parameters, ``eval``, ``stats`` and the table are as there.

    ``evalImgs`` and ``ious`` stay empty.

    Args:
        truth: pycocotools' ``COCO``.
        detections: those of other images and classes than ``params`` has do not count.
        iou_type: ``'bbox'``, ``'segm'`` or ``'keypoints'``.
    """

    def __init__(self, truth, detections: Detections, iou_type: str) -> None:
        super().__init__(truth, iouType=iou_type)
        self.detections = detections

    def evaluate(self) -> None:
        """Match detections and objects, class by class, and compute precision and recall.

        Raises:
            NotComparable: a box or a keypoint is not a number.
        """
        p = self.params
        p.imgIds, p.maxDets = list(np.unique(p.imgIds)), sorted(p.maxDets)
        if p.useCats:
            p.catIds = list(np.unique(p.catIds))
        with _no_collection():
            found = [self._of_class(*one) for one in zip(self._objects(), self._ranked(), strict=True)]
        joined = {key: np.concatenate([one[key] for one in found], -3) for key in ('precision', 'recall', 'scores')}
        joined['scores'][np.isneginf(joined['scores'])] = np.nan  # see _numbered
        self.eval = dict(params=p, counts=[*joined['precision'].shape], **joined)

    def accumulate(self, p=None) -> None:
        """Nothing is left to do after :meth:`evaluate`."""

    def _places(self) -> tuple[dict, dict]:
        """Place of an image id and of a category id among those of the parameters."""
        return tuple({one: at for at, one in enumerate(ids)} for ids in (self.params.imgIds, self.params.catIds))

    def _objects(self) -> list[dict[int, list[dict]]]:
        """Of each class (one, if these do not count): place of an image -> its objects, in pycocotools' order."""
        p = self.params
        images, classes = self._places()
        found = [defaultdict(list) for _ in (classes if p.useCats else [None])]
        objects = self.cocoGt.loadAnns(self.cocoGt.getAnnIds(imgIds=p.imgIds, catIds=p.catIds))
        for one in sorted(objects, key=lambda one: classes[one['category_id']]):
            found[classes[one['category_id']] if p.useCats else 0][images[one['image_id']]].append(one)
        return found

    def _ranked(self) -> list[dict[int, np.ndarray]]:
        """As :meth:`_objects`, which detections count, the best first."""
        p, of = self.params, self.detections
        images, classes = self._places()
        image = np.repeat(np.array([images.get(one, -1) for one in of.images], int), of.many)
        kind = np.array([classes.get(one, -1) for one in of.categories.tolist()], int)
        row = kind if p.useCats else np.zeros_like(kind)
        # Of equal scores those of a class that comes first are first, and then as they were.
        order = np.lexsort((kind, -of.scores, image, row))
        order = order[(image[order] >= 0) & (kind[order] >= 0)]
        found = [{} for _ in (classes if p.useCats else [None])]
        groups, starts = np.unique(len(images) * row[order] + image[order], return_index=True)
        ends = np.append(starts, len(order))[1:]
        for group, start, end in zip(groups.tolist(), starts.tolist(), ends.tolist(), strict=True):
            found[group // len(images)][group % len(images)] = order[start : min(end, start + p.maxDets[-1])]
        return found

    def _of_class(self, objects: dict[int, list[dict]], ranked: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Precision and scores, (thresholds, recalls, 1, areas, limits), and recall; -1 without an object."""
        p = self.params
        if not objects:
            shape = (len(p.iouThrs), len(p.recThrs), 1, len(p.areaRng), len(p.maxDets))
            nothing = np.full(shape, -1.0)
            return dict(precision=nothing, scores=nothing, recall=nothing[:, 0])
        similar = {image: self._similar(objects[image], some) for image, some in ranked.items() if image in objects}
        if any(np.isnan(one).any() for one in similar.values()):
            raise NotComparable
        matching = _Matching(p, objects, self._numbered(ranked), similar)
        matching.evaluate()
        return matching.eval

    def _numbered(self, ranked: dict[int, np.ndarray]) -> dict[int, list[dict]]:
        """What matching asks of detections."""
        of, found = self.detections, {}
        for image, some in ranked.items():
            scores = of.scores[some]
            scores[np.isnan(scores)] = -np.inf  # numpy sorts them to the end
            values = zip((some + 1).tolist(), scores.tolist(), of.areas[some].tolist(), strict=True)
            found[image] = [dict(id=number, score=score, area=area) for number, score, area in values]
        return found

    def _similar(self, objects: list[dict], some: np.ndarray) -> np.ndarray:
        """IoU, of crowds the share of the detection that is inside, or OKS: (detections, objects) float64."""
        shapes = self.detections.shapes
        if self.params.iouType == 'keypoints':
            return np.stack([_oks(shapes[some], one, self.params.kpt_oks_sigmas) for one in objects], 1)
        crowds = [int(one.get('iscrowd', 0)) for one in objects]
        if self.params.iouType == 'bbox':
            return mask.iou(shapes[some], np.array([one['bbox'] for one in objects], float), crowds)
        for one in objects:
            one['segmentation'] = self.cocoGt.annToRLE(one)  # kept for the next time, as pycocotools does
        return mask.iou([shapes[at] for at in some], [one['segmentation'] for one in objects], crowds)


class _Matching(COCOeval_faster):
    """Of one class, with similarities that are known.

    Args:
        params: of pycocotools.
        objects, detections, similar: place of an image -> its objects, its detections and their similarities.
    """

    def __init__(self, params, objects: dict, detections: dict, similar: dict) -> None:
        super().__init__(iouType='bbox')
        for name in ('iouThrs', 'recThrs', 'areaRng', 'maxDets'):
            setattr(self.params, name, getattr(params, name))
        self.params.imgIds, self.params.catIds = sorted({*objects, *detections}), [0]
        self.keypoints = params.iouType == 'keypoints'
        self.objects, self.detections, self.similar = objects, detections, similar

    def _prepare(self) -> None:
        number = 0
        for image, objects in self.objects.items():
            for one in objects:
                number += 1
                crowd = bool(one.get('iscrowd', 0))
                self.gt_dataset.append_ref(
                    image,
                    0,
                    dict(
                        id=number if one['id'] != 0 else 0,  # 0 is "no match", in both packages
                        area=one['area'],
                        iscrowd=crowd,
                        ignore=crowd or (self.keypoints and one['num_keypoints'] == 0),
                    ),
                )
        for image, detections in self.detections.items():
            for one in detections:
                self.dt_dataset.append_ref(image, 0, one)

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        return self.similar.get(imgId, [])


def _oks(found: np.ndarray, person: dict, sigmas: np.ndarray) -> np.ndarray:
    """Similarity of found people, (N, K, 2), and an annotated one, (N,); without labelled keypoints, by its box."""
    x, y, seen = np.array(person['keypoints']).reshape(-1, 3).T
    if (seen > 0).any():
        dx, dy = found[..., 0] - x, found[..., 1] - y
    else:
        left, top, width, height = person['bbox']
        dx, dy = (
            np.maximum(0, start - size - at) + np.maximum(0, at - (start + size * 2))
            for at, start, size in ((found[..., 0], left, width), (found[..., 1], top, height))
        )
    error = (dx**2 + dy**2) / (sigmas * 2) ** 2 / (person['area'] + np.spacing(1)) / 2
    if (seen > 0).any():
        error = np.ascontiguousarray(error[:, seen > 0])
    return np.exp(-error).sum(1) / error.shape[1]


@contextlib.contextmanager
def _no_collection():
    """Python's collector looks at all annotations again and again while many small containers are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
