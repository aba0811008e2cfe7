"""The names under which metrics are logged, known before anything is evaluated."""

from collections.abc import Callable, Iterator

from ..config_tree import type_name

# Of CocoMetric where no metric_items are named.
_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_PROPOSALS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
_KEYPOINTS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_m', 'mAP_l')
_LVIS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
_LVIS_PROPOSALS = ('AR@300', 'ARs@300', 'ARm@300', 'ARl@300')
_LABELS = ('precision', 'recall', 'f1-score')


def asked(metric: dict) -> list[str]:
    """The metrics that a config asks of one, such as ``['bbox', 'segm']``; empty where that is no text."""
    default = 'keypoints' if type_name(metric.get('type')) == 'CocoKeypointMetric' else 'bbox'
    return texts(metric.get('metric', default))


def texts(value) -> list[str]:
    """A text, or a list of them, as a list of them; empty where it is something else."""
    found = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return list(found) if all(isinstance(one, str) for one in found) else []


def unknown_items(metric: dict) -> tuple[list[str], tuple[str, ...]]:
    """Those of a metric's ``metric_items`` that it does not have, and those that it has; none where it takes any."""
    kind = type_name(metric.get('type'))
    items = texts(metric.get('metric_items'))
    if kind == 'CocoMetric':
        known = (*_ITEMS, *_PROPOSALS)
    elif kind == 'FasterLVISMetric':
        known = _LVIS
    elif kind == 'LVISMetric' and 'proposal' not in asked(metric):
        # Recall goes by the number of detections, 300 as the package has it.
        known = (*_LVIS, *_LVIS_PROPOSALS)
    else:
        return [], ()
    return [one for one in items if one not in known], known


def logged_names(metric: dict) -> list[str] | None:
    """What a metric of a config logs, such as ``'coco/bbox_mAP'``; None where that is not known here.

    Known are those of :data:`_KNOWN`, without ``classwise``, whose names are those of classes.
    """
    kind = type_name(metric.get('type'))
    if kind in ('DumpResults', 'DumpDetResults', 'DumpProposals'):
        return []
    if kind not in _KNOWN or metric.get('classwise'):
        return None
    if metric.get('format_only'):
        return []
    prefix, names = _KNOWN[kind]
    prefix = metric.get('prefix') or prefix
    try:
        return [f'{prefix}/{name}' for name in names(metric)]
    except (TypeError, ValueError):  # of values that the metric itself would refuse
        return None


def _of_coco(metric: dict) -> Iterator[str]:
    items, numbers = texts(metric.get('metric_items')), metric.get('proposal_nums', (100, 300, 1000))
    lvis = 'LVIS' in type_name(metric.get('type'))
    for one in asked(metric):
        if one == 'proposal_fast' and isinstance(numbers, list | tuple):
            yield from (f'AR@{number}' for number in numbers)
        elif one == 'proposal':
            yield from items or (_LVIS_PROPOSALS if lvis else _PROPOSALS)
        elif one == 'keypoints':
            yield from (f'keypoints_{item}' for item in _KEYPOINTS)
        else:
            yield from (f'{one}_{item}' for item in items or (_LVIS if lvis else _ITEMS))


def _of_voc(metric: dict) -> Iterator[str]:
    thresholds = _several(metric.get('iou_thrs', 0.5))
    if _several(metric.get('metric', 'mAP')) != ['recall']:
        yield from ('mAP', *(f'AP{int(one * 100):02d}' for one in thresholds))
        return
    numbers = _several(metric.get('proposal_nums', (100, 300, 1000)))
    yield from (f'recall@{number}@{one}' for number in numbers for one in thresholds)
    if len(thresholds) > 1:
        yield from (f'AR@{number}' for number in numbers)


def _of_accuracy(metric: dict) -> Iterator[str]:
    yield from (f'top{k}{end}' for k in _several(metric.get('topk', 1)) for end in _ends(metric))


def _of_single_label(metric: dict) -> Iterator[str]:
    average = metric.get('average', 'macro')
    behind = '_classwise' if average is None else '_micro' if average == 'micro' else ''
    items = metric.get('items', _LABELS)
    yield from (f'{item}{end}{behind}' for end in _ends(metric) for item in items)


def _of_multi_label(metric: dict) -> Iterator[str]:
    thr, topk, average = metric.get('thr'), metric.get('topk'), metric.get('average', 'macro')
    thr = 0.5 if thr is None and topk is None else thr
    end = f'_top{topk}' if not thr else '' if thr == 0.5 else f'_thr-{thr:.2f}'
    behind = '_classwise' if average is None else '' if average == 'macro' else f'_{average}'
    yield from (f'{item}{end}{behind}' for item in metric.get('items', _LABELS))


def _of_average_precision(metric: dict) -> Iterator[str]:
    yield 'AP_classwise' if metric.get('average', 'macro') is None else 'mAP'


def _of_auroc(metric: dict) -> Iterator[str]:
    yield from ('AUROC', 'AUROC_classwise')


def _several(value) -> list:
    return list(value) if isinstance(value, list | tuple) else [value]


def _ends(metric: dict) -> list[str]:
    """Of the thresholds of scores of a classifier."""
    thresholds = _several(metric.get('thrs', 0.0))
    if len(thresholds) < 2:
        return ['']
    return ['_no-thr' if one is None else f'_thr-{one:.2f}' for one in thresholds]


# Metric → its prefix, and what it logs.
_KNOWN: dict[str, tuple[str, Callable[[dict], Iterator[str]]]] = {
    'CocoMetric': ('coco', _of_coco),
    'CocoKeypointMetric': ('coco', _of_coco),
    'FasterLVISMetric': ('lvis', _of_coco),
    'LVISMetric': ('lvis', _of_coco),
    'VOCMetric': ('pascal_voc', _of_voc),
    'Accuracy': ('accuracy', _of_accuracy),
    'SingleLabelMetric': ('single-label', _of_single_label),
    'MultiLabelMetric': ('multi-label', _of_multi_label),
    'VOCMultiLabelMetric': ('multi-label', _of_multi_label),
    'AveragePrecision': ('multi-label', _of_average_precision),
    'VOCAveragePrecision': ('multi-label', _of_average_precision),
    'MultiLabelAUROC': ('multi-label', _of_auroc),
}


def names_of(cfg, part: str = 'val') -> list[str] | None:
    """What a part of a config logs when it is evaluated; None where that is not known of all of its metrics.

    Args:
        part: ``'val'``; with :class:`~rethink.engine.loops.ValAndTestLoop` what is logged is that of both parts.
    """
    if type_name((cfg.get('val_cfg') or {}).get('type')) == 'ValAndTestLoop':
        both = {one: _names(cfg, one) for one in ('val', 'test')}
        known = all(names is not None for names in both.values())
        return [f'{one}/{name}' for one, names in both.items() for name in names] if known else None
    return _names(cfg, part)


def _names(cfg, part: str) -> list[str] | None:
    metrics = cfg.get(f'{part}_evaluator') or []
    found = []
    for metric in metrics if isinstance(metrics, list | tuple) else [metrics]:
        names = logged_names(metric) if isinstance(metric, dict) else None
        if names is None:
            return None
        found += names
    return found
