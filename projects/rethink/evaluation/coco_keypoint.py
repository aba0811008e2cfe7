"""Keypoint AP of COCO: average precision by object keypoint similarity (OKS)."""

import contextlib
import io
import os

import numpy as np
from mmdet.datasets.api_wrappers import COCOeval
from mmdet.registry import METRICS
from mmengine.fileio import dump
from mmengine.logging import MMLogger

from ..datasets.coco_keypoint import PIXEL_CENTRE
from .coco import PYCOCOTOOLS, CocoMetric

# Names of what COCOeval.summarize gives for keypoints, in its order.
_STATS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_m', 'mAP_l')


@METRICS.register_module()
class CocoKeypointMetric(CocoMetric):
    """:class:`.coco.CocoMetric` with the metric ``'keypoints'``, for COCO's 17 keypoints and their sigmas.

    It adds ``coco/keypoints_mAP`` (OKS 0.50 to 0.95), ``_50``, ``_75``, ``_m`` and ``_l``. A person scores as the box
    does (Detectron's ``KEYPOINT_CONFIDENCE: bbox``), at most 20 people an image. Without any prediction AP is 0.
    Where there is nothing to find, as of a size that no person has, it is -1, as in pycocotools.

    Args:
        ann_file: ``person_keypoints_*.json``.
        metric: ``'keypoints'`` and those of :class:`CocoMetric`.
        kwargs: of :class:`CocoMetric`.

    Raises:
        ValueError: ``ann_file`` is not given, or its annotations have no keypoints.
    """

    def __init__(self, ann_file: str | None = None, metric: str | list[str] = 'keypoints', **kwargs) -> None:
        metrics = [metric] if isinstance(metric, str) else list(metric)
        self.with_keypoints = 'keypoints' in metrics
        super().__init__(ann_file=ann_file, metric=[one for one in metrics if one != 'keypoints'], **kwargs)
        if not self.with_keypoints:
            return
        if ann_file is None:
            raise ValueError('CocoKeypointMetric needs ann_file, a person_keypoints_*.json.')
        annotations = self._coco_api.anns.values()
        if any('keypoints' not in one or 'num_keypoints' not in one for one in annotations):
            raise ValueError(f'{ann_file} has annotations without keypoints; take a person_keypoints_*.json.')

    def process(self, data_batch: dict, data_samples) -> None:
        """Keep what is to be scored of a batch, on the CPU.

        Args:
            data_samples: dictionaries with ``pred_instances`` that has ``keypoints``, float of (N, 17, 2).
        """
        super().process(data_batch, data_samples)
        if self.with_keypoints:
            for (_, result), sample in zip(self.results[-len(data_samples) :], data_samples, strict=True):
                result['keypoints'] = sample['pred_instances']['keypoints'].cpu().numpy()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics by name, without the prefix: those of :class:`CocoMetric`, and those of keypoints.

        Args:
            results: what :meth:`process` kept, of all processes.
        """
        values = super().compute_metrics(results)
        if not self.with_keypoints:
            return values
        if self.outfile_prefix is not None:
            dump(self._people(results), f'{self.outfile_prefix}.keypoints.json')
        if self.format_only:
            return values
        predictions = tuple(prediction for _, prediction in results)
        evaluation = None if self.backend == PYCOCOTOOLS else self._evaluate('keypoints', predictions)
        stats = (evaluation or self._by_pycocotools(results)).stats
        return values | {
            f'keypoints_{name}': round(float(value), 3) for name, value in zip(_STATS, stats, strict=False)
        }

    def _by_pycocotools(self, results: list) -> COCOeval:
        table = io.StringIO()
        with contextlib.redirect_stdout(table):
            evaluation = COCOeval(self._coco_api, self._coco_api.loadRes(self._people(results)), 'keypoints')
            evaluation.params.catIds, evaluation.params.imgIds = self.cat_ids, self.img_ids
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        MMLogger.get_current_instance().info('Evaluating keypoints...' + os.linesep + table.getvalue())
        return evaluation

    def _shapes(self, metric: str, predictions: tuple[dict, ...]) -> tuple:
        if metric != 'keypoints':
            return super()._shapes(metric, predictions)
        keypoints = (np.concatenate([one['keypoints'] for one in predictions]) - PIXEL_CENTRE).astype(float)
        return keypoints, np.ptp(keypoints, axis=1).prod(1)

    def _people(self, results: list) -> list[dict]:
        return [one for _, result in results for one in self._as_coco(result)]

    def _as_coco(self, result: dict) -> list[dict]:
        """The predictions of an image in COCO's format for results. Without a box, which the size would follow."""
        people = []
        for keypoints, score, label in zip(result['keypoints'], result['scores'], result['labels'], strict=True):
            flat = [value for x, y in (keypoints - PIXEL_CENTRE).tolist() for value in (x, y, 1)]
            people.append(
                dict(image_id=result['img_id'], category_id=self.cat_ids[label], keypoints=flat, score=float(score))
            )
        return people
