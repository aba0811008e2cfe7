"""Box and mask AP of LVIS, with rare, common and frequent classes apart, by faster_coco_eval.

LVIS: A Dataset for Large Vocabulary Instance Segmentation (Gupta et al. 2019, https://arxiv.org/abs/1908.03195),
section 2: an image is annotated for some classes alone. A detection of a class that an image does not list counts
nothing, and an unmatched one of a class that is not annotated exhaustively there is no error.
"""

import tempfile
from collections import defaultdict

import numpy as np
from mmdet.evaluation import LVISMetric
from mmdet.registry import METRICS
from mmengine.fileio import load
from mmengine.logging import MMLogger

from ..datasets.annotations import FREQUENCIES

_MAX_DETECTIONS = 300  # of an image
# The names of LVIS for what faster_coco_eval counts.
_NAMES = dict(
    AP='AP_all',
    AP50='AP_50',
    AP75='AP_75',
    APs='AP_small',
    APm='AP_medium',
    APl='AP_large',
    APr='APr',
    APc='APc',
    APf='APf',
)


@METRICS.register_module()
class FasterLVISMetric(LVISMetric):
    """MMDetection's ``LVISMetric`` with the evaluation of faster_coco_eval, which is compiled.

    The evaluation in the package lvis 0.5.3 calls a name that numpy 2 no longer has; its reader is still needed.

    It gives ``lvis/bbox_AP``, ``_AP50``, ``_AP75``, ``_APs``, ``_APm``, ``_APl`` (by the area of an object, below 32²,
    below 96² and above), ``_APr``, ``_APc`` and ``_APf`` (classes in up to 10, up to 100 and more training
    images), and the same of ``segm``. A mask counts by its own area, as in the package; ``LVISMetric`` takes the area
    of its box. -1 where there is nothing to find, 0 where there is and nothing was found.

    Args:
        ann_file: of LVIS v1, with ``neg_category_ids`` and ``not_exhaustive_category_ids`` of each image and the
            ``frequency`` of each category.
        metric: ``'bbox'``, ``'segm'`` or both.
        kwargs: of ``LVISMetric``.

    Raises:
        RuntimeError: the package lvis is not installed.
        ValueError: another metric, or what is to be scored against lacks one of these, without which the AP would be
            another one; the package ends with a ``KeyError``.
    """

    def __init__(self, ann_file: str, metric: str | list[str] = 'bbox', **kwargs) -> None:
        unknown = {metric} if isinstance(metric, str) else set(metric)
        unknown -= {'bbox', 'segm'}
        if unknown:
            raise ValueError(f"FasterLVISMetric has the metrics 'bbox' and 'segm', not {', '.join(sorted(unknown))}.")
        super().__init__(ann_file=ann_file, metric=metric, **kwargs)
        if not self.format_only:
            _check(ann_file, self._lvis_api.dataset)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics by name, without the prefix, rounded to three digits as MMDetection's.

        Args:
            results: ground truth, which is not used, and prediction of each image.
        """
        self.cat_ids = self._lvis_api.get_cat_ids()
        predictions = [prediction for _, prediction in results]
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json(predictions, self.outfile_prefix or f'{folder}/results')
            if self.format_only:
                return {}
            found = {metric: load(files[metric]) if metric in files else [] for metric in self.metrics}
        metrics = {}
        for metric, detections in found.items():
            of_classes, of_all = self.evaluate_detections(detections, metric)
            names = self.metric_items or list(_NAMES)
            metrics |= {f'{metric}_{name}': round(value, 3) for name, value in of_all.items() if name in names}
            if self.classwise:
                metrics |= {f'{metric}_{name}_precision': round(value, 3) for name, value in of_classes.items()}
        return metrics

    def evaluate_detections(self, detections: list[dict], metric: str) -> tuple[dict[str, float], dict[str, float]]:
        """AP of each class by its name, NaN where there is nothing to find, and the metrics of all.

        Args:
            detections: as LVIS's results files have them: ``image_id``, ``category_id``, ``score`` and ``bbox`` (x, y,
                w, h in pixels) or ``segmentation`` (RLE); the 300 best of an image count.
            metric: ``'bbox'`` or ``'segm'``.
        """
        from faster_coco_eval import COCO, COCOeval_faster

        logger = MMLogger.get_current_instance()
        if metric == 'segm':  # so that the area is that of the mask
            detections = [{key: value for key, value in one.items() if key != 'bbox'} for one in detections]
        truth = COCO(self._lvis_api.dataset)
        evaluation = COCOeval_faster(
            truth,
            truth.loadRes(_best(detections)),
            iouType=metric,
            lvis_style=True,
            print_function=logger.info,
        )
        evaluation.params.maxDets = [_MAX_DETECTIONS]
        evaluation.params.iouThrs = np.asarray(self.iou_thrs)
        evaluation.run()
        of_all = {name: evaluation.stats_as_dict[theirs] for name, theirs in _NAMES.items()}
        # (thresholds, recalls, classes, areas, limits): of all areas.
        precision = evaluation.eval['precision'][:, :, :, 0, -1]
        ap = np.where(precision > -1, precision, np.nan).mean(axis=(0, 1))
        classes = [one['name'] for one in self._lvis_api.load_cats(evaluation.params.catIds)]
        return dict(zip(classes, ap.tolist(), strict=True)), of_all


def _check(path: str, truth: dict) -> None:
    for key in ('neg_category_ids', 'not_exhaustive_category_ids'):
        without = [image['id'] for image in truth['images'] if not isinstance(image.get(key), list)]
        if without:
            raise ValueError(f'{len(without)} images of {path} (id {without[0]}) have no list {key} of LVIS.')
    names = [one['name'] for one in truth['categories'] if one.get('frequency') not in FREQUENCIES]
    if names:
        raise ValueError(f"{len(names)} categories of {path} ({names[0]}) have no frequency 'r', 'c' or 'f' of LVIS.")


def _best(detections: list[dict]) -> list[dict]:
    """The best detections of each image, as many as LVIS counts; in the order given where scores are equal."""
    of_images = defaultdict(list)
    for one in detections:
        of_images[one['image_id']].append(one)
    return [
        one
        for image in of_images.values()
        for one in (
            image
            if len(image) <= _MAX_DETECTIONS
            else sorted(image, key=lambda detection: detection['score'], reverse=True)[:_MAX_DETECTIONS]
        )
    ]
