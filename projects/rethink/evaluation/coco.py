"""COCO's metrics for boxes, masks and proposals, under MMDetection's names, by faster_coco_eval or pycocotools."""

import contextlib
import io
import itertools
import os
import tempfile

import mmdet.evaluation
import numpy as np
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import METRICS
from mmengine.logging import MMLogger, print_log
from pycocotools import mask
from terminaltables import AsciiTable

from ..errors import ConfigError, some_names
from .nothing_found import say

FASTER, PYCOCOTOOLS = BACKENDS = ('faster-coco-eval', 'pycocotools')
# Place in COCOeval.stats; the names of recall are true of the default proposal_nums.
_PRECISION = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_RECALL = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
_STATS = {name: at for at, name in enumerate(_PRECISION + _RECALL)}


def unusable() -> str | None:
    """Why faster_coco_eval cannot be used; None where it can."""
    try:
        from . import fast_coco  # noqa: F401
    except ImportError as error:
        return str(error)
    return None


@METRICS.register_module(force=True)
class CocoMetric(mmdet.evaluation.CocoMetric):
    """MMDetection's ``CocoMetric``, whose names and numbers it has, by faster_coco_eval; it takes its place.

    The numbers before they are rounded are those of pycocotools to 1e-12. Nothing is written and read again, unless
    ``outfile_prefix`` asks for files. ``classwise`` names the classes right also where the annotation file does not
    have them in the order of their ids, unlike MMDetection's.

    Args:
        ann_file, metric: as in MMDetection.
        backend: ``'faster-coco-eval'``, or ``'pycocotools'``, which is MMDetection's evaluation as it is. That is
            taken and said too where the package is missing, where ``use_mp_eval`` asks for it, and where a
            prediction is not a number, of which pycocotools makes a match.
        kwargs: of MMDetection's.

    Raises:
        ConfigError: another backend.
    """

    def __init__(
        self, ann_file: str | None = None, metric: str | list[str] = 'bbox', backend: str = FASTER, **kwargs
    ) -> None:
        if backend not in BACKENDS:
            raise ConfigError(
                f"{type(self).__name__} has backend={backend!r}; set 'faster-coco-eval', which is the default, or "
                "'pycocotools'."
            )
        super().__init__(ann_file=ann_file, metric=metric, **kwargs)
        if backend == FASTER and (why := unusable()):
            print_log(
                f'{FASTER} cannot be used ({why}), so COCO evaluation is by pycocotools, which takes many times as '
                f"long; `pip install -U {FASTER}`, or set backend='pycocotools' in the evaluator.",
                'current',
                level=30,
            )
            backend = PYCOCOTOOLS
        self.backend = backend

    def process(self, data_batch: dict, data_samples) -> None:
        """Keep what is to be evaluated of a batch, on the CPU; the masks of an image are one text."""
        before = len(self.results)
        super().process(data_batch, data_samples)
        for _, result in self.results[before:]:
            if 'masks' in result:
                result['masks'] = _packed(result['masks'])

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics by name, without the prefix, rounded as MMDetection's.

        Args:
            results: what :meth:`process` kept, of all processes.
        """
        results = [(truth, _unpacked(result)) for truth, result in results]
        if self.backend == PYCOCOTOOLS or self.use_mp_eval or self.format_only:
            return super().compute_metrics(results)
        truths, predictions = zip(*results, strict=True)
        self._read(truths)
        if self.outfile_prefix is not None:
            self.results2json(predictions, self.outfile_prefix)
        values = {}
        for metric in self.metrics:
            if metric == 'proposal_fast':
                values |= self._recalls(predictions)
                continue
            evaluation = self._evaluate(metric, predictions)
            if evaluation is None:
                return super().compute_metrics(results)
            items = self.metric_items or (_RECALL if metric == 'proposal' else _PRECISION)
            if unknown := set(items) - set(_STATS):
                raise KeyError(f'metric item "{sorted(unknown)[0]}" is not supported')
            if metric == 'proposal':
                values |= {item: float(f'{evaluation.stats[_STATS[item]]:.3f}') for item in items}
                continue
            if self.classwise:
                values |= self._classwise(evaluation)
            values |= {f'{metric}_{item}': float(round(evaluation.stats[_STATS[item]], 3)) for item in items}
            row = ' '.join(f'{value:.3f}' for value in evaluation.stats[:6])
            MMLogger.get_current_instance().info(f'{metric}_mAP_copypaste: {row}')
        return values

    def _read(self, truths: tuple[dict, ...]) -> None:
        """Annotations, if no file has them, and which of their classes and images count."""
        if self._coco_api is None:
            with tempfile.TemporaryDirectory() as folder:
                prefix = self.outfile_prefix or os.path.join(folder, 'results')
                self._coco_api = COCO(self.gt_to_coco_json(truths, prefix))
        if self.cat_ids is None:
            self.cat_ids = self._coco_api.get_cat_ids(cat_names=self.dataset_meta['classes'])
        if self.img_ids is None:
            self.img_ids = self._coco_api.get_img_ids()

    def _evaluate(self, metric: str, predictions: tuple[dict, ...]):
        """pycocotools' ``COCOeval`` with its results; None where it has to be pycocotools' own, which is said."""
        from .fast_coco import VERSION, FastCOCOeval, NotComparable

        logger = MMLogger.get_current_instance()
        logger.info(f'Evaluating {metric} with {FASTER} {VERSION}...')
        detections = self._detections(metric, predictions)
        if not len(detections.scores):
            say()
        evaluation = FastCOCOeval(self._coco_api, detections, 'bbox' if metric == 'proposal' else metric)
        evaluation.params.catIds, evaluation.params.imgIds = self.cat_ids, self.img_ids
        if metric != 'keypoints':
            evaluation.params.maxDets, evaluation.params.iouThrs = list(self.proposal_nums), self.iou_thrs
        if metric == 'proposal':
            evaluation.params.useCats = 0
        table = io.StringIO()
        try:
            with contextlib.redirect_stdout(table):
                evaluation.evaluate()
                evaluation.summarize()
        except NotComparable:
            print_log(
                f'A prediction of {metric} is not a number, so this is evaluated by pycocotools, which counts it as a '
                'match of any object in its image and class; did the training diverge?',
                'current',
                level=30,
            )
            return None
        logger.info(os.linesep + table.getvalue())
        return evaluation

    def _detections(self, metric: str, predictions: tuple[dict, ...]):
        """What :mod:`.fast_coco` evaluates, with the areas that pycocotools' ``loadRes`` gives."""
        from .fast_coco import Detections

        unknown = {one['img_id'] for one in predictions if len(one['labels'])} - set(self._coco_api.imgs)
        if unknown:
            raise ConfigError(
                f'The annotations of the metric lack {len(unknown)} of the images that were evaluated '
                f'({some_names(map(str, unknown))}); name the annotation file of the data set in ann_file.'
            )
        scores = 'mask_scores' if metric == 'segm' and 'mask_scores' in predictions[0] else 'scores'
        shapes, areas = self._shapes(metric, predictions)
        return Detections(
            images=[one['img_id'] for one in predictions],
            many=[len(one['labels']) for one in predictions],
            categories=np.array(self.cat_ids)[np.concatenate([one['labels'] for one in predictions])],
            scores=np.concatenate([one[scores] for one in predictions]).astype(float),
            areas=areas,
            shapes=shapes,
        )

    def _shapes(self, metric: str, predictions: tuple[dict, ...]) -> tuple:
        """Boxes (N, 4) or masks, and areas, (N,)."""
        if metric == 'segm':
            if 'masks' not in predictions[0]:
                raise KeyError('segm is not in results')
            masks = [list(one['masks']) for one in predictions]
            areas = [mask.area(one) for one in masks if one]
            return list(itertools.chain(*masks)), np.concatenate([np.zeros(0), *areas])
        boxes = np.concatenate([one['bboxes'] for one in predictions]).astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        return boxes, boxes[:, 2] * boxes[:, 3]

    def _recalls(self, predictions: tuple[dict, ...]) -> dict[str, float]:
        logger = MMLogger.get_current_instance()
        found = self.fast_eval_recall(predictions, self.proposal_nums, self.iou_thrs, logger=logger)
        values = {f'AR@{number}': value for number, value in zip(self.proposal_nums, found, strict=True)}
        logger.info(''.join(f'\n{name}\t{value:.4f}' for name, value in values.items()))
        return values

    def _classwise(self, evaluation) -> dict[str, float]:
        """AP of each class; it is logged with that at two thresholds and of three sizes."""
        values, rows = {}, [['category', *_PRECISION]]
        for category in self.cat_ids:
            # (thresholds, recalls, areas), with the largest number of detections
            precision = evaluation.eval['precision'][:, :, evaluation.params.catIds.index(category), :, -1]
            parts = [precision[..., 0], precision[0, :, 0], precision[5, :, 0], *precision[..., 1:].transpose(2, 0, 1)]
            found = [round(part[part > -1].mean(), 3) if (part > -1).any() else float('nan') for part in parts]
            name = self._coco_api.cats[category]['name']
            values[f'{name}_precision'] = found[0]
            rows.append([name, *map(str, found)])
        MMLogger.get_current_instance().info('\n' + AsciiTable(rows).table)
        return values


def _packed(masks: list[dict]) -> dict | list[dict]:
    """RLE of the masks of an image as one text, which processes hand over faster than a dictionary of each."""
    sizes = {tuple(one['size']) for one in masks if isinstance(one, dict)}
    if len(sizes) != 1 or not all(isinstance(one, dict) and isinstance(one['counts'], bytes) for one in masks):
        return masks
    return dict(size=[*sizes.pop()], counts=b' '.join(one['counts'] for one in masks))  # of '0' to 'o' alone


def _unpacked(result: dict) -> dict:
    packed = result.get('masks')
    if not isinstance(packed, dict):
        return result
    return dict(result, masks=[dict(size=packed['size'], counts=one) for one in packed['counts'].split(b' ')])
