"""AP of each class, by object size, from results files in COCO's format: on COCO by pycocotools, on LVIS federated.

Results files are what MMDetection writes for ``outfile_prefix`` of ``CocoMetric`` and ``LVISMetric``, and rethink's
``CocoKeypointMetric``: ``<prefix>.bbox.json``, ``.segm.json`` and ``.keypoints.json``, a list of detections. Boxes are
(x, y, width, height) in pixels, x to the right, y down.
"""

import contextlib
import importlib
import io
import json
import math
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from ..errors import ConfigError, say, some_names
from ..reuse import tool

# Areas up to 32², up to 96² and above, in pixels, as COCO has them.
SIZES = ('all', 'small', 'medium', 'large')
THRESHOLDS, RECALLS = 10, 101  # of COCO's evaluation
_OF_IMAGE = 300  # detections of an image that LVIS counts


@dataclass(frozen=True)
class Annotations:
    """A COCO or LVIS annotation file.

    Args:
        path: where it was read.
        categories, images: by their ids.
        objects: its ``annotations``.
    """

    path: str
    categories: dict[int, dict]
    images: dict[int, dict]
    objects: list[dict]

    @property
    def names(self) -> dict[int, str]:
        return {number: category['name'] for number, category in self.categories.items()}

    @property
    def federated(self) -> bool:
        """Whether each image says which classes it was searched for, as in LVIS."""
        return bool(self.images) and all('neg_category_ids' in image for image in self.images.values())

    def counts(self) -> tuple[Counter, Counter]:
        """Annotations of each category, and images that have one; regions of a crowd (``iscrowd``) do not count."""
        single = [(one['category_id'], one['image_id']) for one in self.objects if not one.get('iscrowd')]
        return Counter(category for category, _ in single), Counter(category for category, _ in set(single))


def _read_json(path: str, what: str, **options):
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file, **options)
    except FileNotFoundError:
        raise ConfigError(f'the {what} {path} does not exist; name one that does.') from None
    except (ValueError, OSError):
        how = '' if what == 'annotation file' else f'; {_HOW_TO_WRITE}'
        raise ConfigError(f'the {what} {path} is not JSON, or only the beginning of it{how}.') from None


_HOW_TO_WRITE = (
    f'write it with `{tool("test.py")} CONFIG CHECKPOINT --cfg-options test_evaluator.outfile_prefix=PREFIX`, which '
    'gives PREFIX.bbox.json and, with masks or keypoints, PREFIX.segm.json or PREFIX.keypoints.json'
)
# What evaluation reads of an annotation, beside its area, and of a detection, beside its score.
_OF_OBJECT = dict(bbox=['bbox'], segm=['segmentation'], keypoints=['keypoints', 'num_keypoints', 'bbox'])
_OF_DETECTION = dict(bbox='bbox', segm='segmentation', keypoints='keypoints')
_KEYPOINTS = 17 * 3  # of COCO, each x, y and how it is seen


def _without_mask(entry: dict) -> dict:
    entry.pop('segmentation', None)
    return entry


def read_annotations(path: str | os.PathLike, masks: bool = True) -> Annotations:
    """A COCO or LVIS annotation file.

    Args:
        masks: False leaves ``segmentation`` away while reading; polygons are most of LVIS' gigabyte.

    Raises:
        ConfigError: it is not there, or is no such file.
    """
    path = str(path)
    content = _read_json(path, 'annotation file', object_hook=None if masks else _without_mask)
    parts = ('images', 'annotations', 'categories')
    lacking = [key for key in parts if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if lacking:
        raise ConfigError(f'{path} has no list of {" and of ".join(lacking)}, so it is not a COCO annotation file.')
    try:
        images, categories = ({one['id']: one for one in content[key]} for key in ('images', 'categories'))
        for one in content['annotations']:
            if one['image_id'] not in images or one['category_id'] not in categories:
                raise ConfigError(
                    f'{path} has an annotation of image {one["image_id"]!r} and category {one["category_id"]!r}, and '
                    'one of the two is not in the file; write it again.'
                )
        names = [category['name'] for category in categories.values()]
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f'{path} lacks {error} in one of its entries, so it is not a COCO annotation file.'
        ) from None
    if len(set(names)) < len(names):
        raise ConfigError(
            f'{path} has two categories of one name ({some_names(_twice(names))}); name them differently.'
        )
    return Annotations(path, categories, images, content['annotations'])


def _twice(names: list[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def check_kind(truth: Annotations, lvis: bool, iou_type: str) -> None:
    """The annotations are of the kind that is asked for, and have what evaluation needs.

    Raises:
        ConfigError: they are COCO's where LVIS was asked for, or the other way round, or have no masks or areas.
    """
    if lvis and not truth.federated:
        raise ConfigError(
            f'{truth.path} is no LVIS file: its images have no neg_category_ids, which say for which classes they '
            'were searched; name an LVIS file, or leave --lvis away.'
        )
    if not lvis and truth.federated:
        raise ConfigError(
            f'{truth.path} is an LVIS file, whose images are searched for some of the classes alone, so that COCO '
            'evaluation would count right detections as wrong; add --lvis.'
        )
    for one in truth.objects:
        if lacking := [key for key in (*_OF_OBJECT[iou_type], 'area') if key not in one]:
            raise ConfigError(
                f'{truth.path} has an annotation without {lacking[0]} (image {one["image_id"]}), which {iou_type} AP '
                'needs; name a file that has it' + ('.' if lacking[0] == 'area' else ', or ask for another AP.')
            )
        if iou_type == 'keypoints' and len(one['keypoints']) != _KEYPOINTS:
            raise ConfigError(
                f'{truth.path} has an annotation with {len(one["keypoints"]) // 3} keypoints (image '
                f"{one['image_id']}), and the similarity of keypoints is known for COCO's 17 alone; name a "
                'person_keypoints_*.json.'
            )
    if not any(not one.get('iscrowd') for one in truth.objects):
        raise ConfigError(f'{truth.path} has no annotated object, so nothing can be measured on it.')


def read_results(
    path: str | os.PathLike, truth: Annotations, iou_type: str = 'bbox', may_be_empty: bool = False
) -> list[dict]:
    """The detections in a results file, after a look whether they can be of these annotations.

    Args:
        truth: what they are to be evaluated on.
        iou_type: ``'bbox'``, ``'segm'`` or ``'keypoints'``.

    Raises:
        ConfigError: it is not there, no results file, empty, or of another data set.
    """
    path = str(path)
    found = _read_json(path, 'results file')
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found[:1]):
        kind = 'an annotation file' if isinstance(found, dict) and 'annotations' in found else 'no list of detections'
        raise ConfigError(f'{path} is {kind}, not a results file; {_HOW_TO_WRITE}.')
    if not found and may_be_empty:
        return found
    if not found:
        raise ConfigError(
            f'{path} holds no detection; test a model that detects something, or with a lower score_thr in test_cfg.'
        )
    shape = _OF_DETECTION[iou_type]
    length = dict(bbox=4, keypoints=_KEYPOINTS).get(shape)
    for one in found:
        if lacking := [key for key in ('image_id', 'category_id', 'score', shape) if key not in one]:
            raise ConfigError(
                f'{path} has a detection without {lacking[0]}, so it has no {iou_type} results; {_HOW_TO_WRITE}.'
            )
        if not _finite(one['score']) or (length and not _are_finite(one[shape], length)):
            raise ConfigError(
                f'{path} has a detection in image {one["image_id"]} with score {one["score"]} and {shape} '
                f'{one[shape] if length else "…"}, which are not so many finite numbers; did the training diverge?'
            )
    _check_ids(path, found, truth)
    if shape == 'bbox' and not any(_inside(one['bbox'], truth.images[one['image_id']]) for one in found):
        raise ConfigError(
            f'none of the {len(found)} boxes in {path} lies in its image in {truth.path}: they are of another data '
            'set, or not (x, y, width, height) in pixels of the image.'
        )
    return found


def _finite(value) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _are_finite(value, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(map(_finite, value))


def _check_ids(path: str, found: list[dict], truth: Annotations) -> None:
    for key, known, what in (
        ('image_id', truth.images, 'images'),
        ('category_id', truth.categories, 'categories'),
    ):
        own = {one[key] for one in found}
        if unknown := own - known.keys():
            raise ConfigError(
                f'{path} has detections in {len(own)} {what}, and {len(unknown)} of them ({_some(unknown)}) are not '
                f'in {truth.path}: it is of another data set; name the annotations that it was tested on.'
            )


def _some(ids: set) -> str:
    shown = sorted(ids, key=lambda one: (isinstance(one, str), one))
    return ', '.join(map(str, shown[:4])) + (' …' if len(shown) > 4 else '')


def _inside(box: list[float], image: dict) -> bool:
    x, y, width, height = box
    right, bottom = image.get('width', math.inf), image.get('height', math.inf)
    return x < right and y < bottom and x + width > 0 and y + height > 0


# --- evaluation ------------------------------------------------------------------------------------------------------


def evaluator(lvis: bool):
    """The classes of an annotation file and of an evaluation, and what the latter is given beside these."""
    name = 'faster_coco_eval' if lvis else 'pycocotools'
    try:
        if lvis:
            module = importlib.import_module('faster_coco_eval')
            return module.COCO, module.COCOeval_faster, dict(lvis_style=True)
        return (
            importlib.import_module('pycocotools.coco').COCO,
            importlib.import_module('pycocotools.cocoeval').COCOeval,
            {},
        )
    except ImportError as error:
        package = name.replace('_', '-')
        what = 'LVIS' if lvis else 'COCO'
        raise ConfigError(
            f'evaluation on {what} needs the package {package}, which cannot be imported ({error}); install it with '
            f'`pip install {package}`.'
        ) from None


def class_ap(
    truth: Annotations, found: list[dict], iou_type: str = 'bbox', lvis: bool = False, what: str = ''
) -> np.ndarray:
    """AP over IoU 0.5 to 0.95 of each class and object size, (C, 4) float64 in points of 100.

    Rows are the classes in the order of the file's categories, columns :data:`SIZES`; nan where there is no object to
    find. Each class is evaluated by itself on the images that have something of it, which gives the numbers of an
    evaluation of all at once. In LVIS, the 300 best detections of an image count, those of a class for which their
    image was not searched do not, and unmatched ones of a class not exhaustively annotated there are ignored. A mask's
    size is its own area, also where the file has boxes beside the masks.

    Args:
        found: as from :func:`read_results`.
        what: a name for the progress bar.

    Raises:
        ConfigError: the package is missing.
    """
    table = np.full((len(truth.categories), len(SIZES)), np.nan)
    for row, precision in _by_class(truth, found, iou_type, lvis, what):
        _average(precision, table[row])
    return table


def precisions(
    truth: Annotations, found: list[dict], iou_type: str = 'bbox', lvis: bool = False, what: str = ''
) -> np.ndarray:
    """Precision of each class at each recall, objects of all sizes: (C, thresholds, recalls) float64, 0 to 1.

    It is ``eval['precision']`` of pycocotools, with the classes in the order of the file's categories, IoU of 0.5,
    0.55, … 0.95, and recall of 0, 0.01, … 1; nan where there is no object to find. Its means are what
    :func:`class_ap`, which has the same arguments, gives as AP of all sizes.

    Raises:
        ConfigError: the package is missing.
    """
    table = np.full((len(truth.categories), THRESHOLDS, RECALLS), np.nan)
    for row, precision in _by_class(truth, found, iou_type, lvis, what):
        if (precision[..., 0] > -1).any():
            table[row] = precision[..., 0]
    return table


def _by_class(
    truth: Annotations, found: list[dict], iou_type: str, lvis: bool, what: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Place of a class in the file, and its precision, (thresholds, recalls, sizes), -1 without an object."""
    rows = {category: row for row, category in enumerate(truth.categories)}
    if not lvis and (precision := _precision(truth, found, iou_type)) is not None:
        for category, of_class in zip(sorted(rows), precision.transpose(2, 0, 1, 3), strict=True):
            yield rows[category], of_class
        return
    for category, evaluated in evaluations(truth, found, iou_type, evaluator(lvis), what):
        with contextlib.redirect_stdout(io.StringIO()):
            evaluated.accumulate()
        # (IoU thresholds, recall thresholds, 1 class, sizes, 1 number of detections)
        yield rows[category], np.asarray(evaluated.eval['precision'])[:, :, 0, :, 0]


def _average(precision: np.ndarray, row: np.ndarray) -> None:
    """(thresholds, recalls, sizes) -> AP by size, in points; nan stays where there is no object."""
    sizes = precision.transpose(2, 0, 1)
    # COCO has no small keypoints.
    columns = [0, 2, 3] if len(sizes) < len(SIZES) else range(len(SIZES))
    for column, size in zip(columns, sizes, strict=True):
        if (size > -1).any():
            row[column] = 100 * size[size > -1].mean()


def _precision(truth: Annotations, found: list[dict], iou_type: str) -> np.ndarray | None:
    """Of all classes at once, in the order of their ids, (thresholds, recalls, classes, sizes), by faster_coco_eval.

    None, and a word, where that cannot be used: pycocotools, which gives the same numbers, takes many times as long.
    """
    coco, _, _ = evaluator(lvis=False)
    try:
        from ..evaluation.fast_coco import Detections, FastCOCOeval, NotComparable
    except ImportError as error:
        say(f'faster-coco-eval cannot be used ({error}), so this takes longer; `pip install -U faster-coco-eval`.')
        return None
    of = [_detection(one, 0, iou_type) for one in found]
    shapes = [one[_OF_DETECTION[iou_type]] for one in of]
    if iou_type == 'keypoints':
        shapes = np.array(shapes, float).reshape(len(of), -1, 3)[..., :2]
    detections = Detections(
        images=[one['image_id'] for one in of],
        many=[1] * len(of),
        categories=np.array([one['category_id'] for one in of]),
        scores=np.array([one['score'] for one in of], float),
        areas=np.array([one['area'] for one in of], float),
        shapes=np.array(shapes, float) if iou_type == 'bbox' else shapes,
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            side = coco()
            side.dataset = dict(
                images=list(truth.images.values()),
                annotations=[dict(one, id=number) for number, one in enumerate(truth.objects, 1)],
                categories=list(truth.categories.values()),
            )
            side.createIndex()
            evaluated = FastCOCOeval(side, detections, iou_type)
            evaluated.evaluate()
    except NotComparable:
        say('A prediction is not a number: pycocotools evaluates all, which takes longer and counts it as a match.')
        return None
    return evaluated.eval['precision'][..., -1]


def evaluations(truth: Annotations, found: list[dict], iou_type: str, api: tuple, what: str = '') -> Iterator[tuple]:
    """Category id and evaluation, matched and not yet accumulated, of each class with an object; shows progress.

    Args:
        truth: federated ones (LVIS) leave out detections that do not count in these.
        api: as from :func:`evaluator`.
        what: a name for the progress bar.
    """
    objects, detections = defaultdict(list), defaultdict(list)
    for one in truth.objects:
        objects[one['category_id']].append(one)
    for one in _verified(truth, _best(found), objects) if truth.federated else found:
        detections[one['category_id']].append(one)
    work = sum(len(one) for one in (*objects.values(), *(detections[category] for category in objects)))
    with progress(work, what, ' boxes') as bar:
        for category in truth.categories:
            if category in objects:
                yield category, _one_class(truth, objects[category], detections[category], category, iou_type, api)
                bar.update(len(objects[category]) + len(detections[category]))


def progress(total: int, what: str, unit: str) -> tqdm:
    """A bar of work that may take minutes, with the time left."""
    every = 0.5 if sys.stderr.isatty() else 30  # seconds; in a file, a line every half minute is enough
    return tqdm(total=total, desc=what, unit=unit, unit_scale=True, mininterval=every, delay=2, leave=False)


def _best(found: list[dict]) -> list[dict]:
    """Of each image the detections that LVIS counts."""
    images = defaultdict(list)
    for one in found:
        images[one['image_id']].append(one)
    return [
        one
        for of in images.values()
        for one in (of if len(of) <= _OF_IMAGE else sorted(of, key=lambda one: -one['score'])[:_OF_IMAGE])
    ]


def _verified(truth: Annotations, found: list[dict], objects: dict[int, list[dict]]) -> list[dict]:
    """Detections of classes for which their image was searched."""
    searched = {image: set(one['neg_category_ids']) for image, one in truth.images.items()}
    for category, of in objects.items():
        for one in of:
            searched[one['image_id']].add(category)
    return [one for one in found if one['category_id'] in searched[one['image_id']]]


def _one_class(
    truth: Annotations, objects: list[dict], detections: list[dict], category: int, iou_type: str, api: tuple
):
    """The evaluation of one class, matched, on the images that have something of it."""
    coco, evaluation, options = api
    images = {one['image_id']: truth.images[one['image_id']] for one in (*objects, *detections)}
    # Numbered anew: a file that counts from 0 would lose its first object, as 0 is "no match" in pycocotools.
    objects = [dict(one, id=number, iscrowd=one.get('iscrowd', 0)) for number, one in enumerate(objects, 1)]
    detections = [_detection(one, number, iou_type) for number, one in enumerate(detections, 1)]
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for annotations in (objects, detections):
            side = coco()
            side.dataset = dict(
                images=list(images.values()), annotations=annotations, categories=[truth.categories[category]]
            )
            side.createIndex()
            sides.append(side)
        evaluated = evaluation(*sides, iou_type, **options)
        # Of an image and class pycocotools counts the best 100, or 20 people by their keypoints.
        evaluated.params.maxDets = [_OF_IMAGE if truth.federated else evaluated.params.maxDets[-1]]
        evaluated.evaluate()
    return evaluated


def _detection(one: dict, number: int, iou_type: str) -> dict:
    """A detection with the area that pycocotools' ``loadRes`` would give it."""
    shape = _OF_DETECTION[iou_type]
    shared = dict(id=number, iscrowd=0, **{key: one[key] for key in ('image_id', 'category_id', 'score', shape)})
    if iou_type == 'bbox':
        return dict(shared, area=one['bbox'][2] * one['bbox'][3])
    if iou_type == 'keypoints':
        return dict(shared, area=np.ptp(one['keypoints'][0::3]) * np.ptp(one['keypoints'][1::3]))
    from pycocotools import mask

    return dict(shared, area=float(mask.area(one['segmentation'])))
