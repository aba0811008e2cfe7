"""The names under which metrics are logged, known before anything is evaluated."""

from ..config_tree import type_name

# Of CocoMetric where no metric_items are named.
_ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
_PROPOSALS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
_KEYPOINTS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_m', 'mAP_l')
_LVIS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')


def asked(metric: dict) -> list[str]:
    """The metrics that a config asks of one, such as ``['bbox', 'segm']``; empty where that is no text."""
    default = 'keypoints' if type_name(metric.get('type')) == 'CocoKeypointMetric' else 'bbox'
    return texts(metric.get('metric', default))


def texts(value) -> list[str]:
    """A text, or a list of them, as a list of them; empty where it is something else."""
    found = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return list(found) if all(isinstance(one, str) for one in found) else []


def logged_names(metric: dict) -> list[str] | None:
    """What a metric of a config logs, such as ``'coco/bbox_mAP'``; None where that is not known here.

    Known are ``CocoMetric``, ``CocoKeypointMetric`` and ``FasterLVISMetric``, without ``classwise``, whose names are
    those of classes.
    """
    kind = type_name(metric.get('type'))
    prefixes = dict(CocoMetric='coco', CocoKeypointMetric='coco', FasterLVISMetric='lvis')
    if kind not in prefixes or metric.get('classwise'):
        return None
    if metric.get('format_only'):
        return []
    items, numbers, found = texts(metric.get('metric_items')), metric.get('proposal_nums', (100, 300, 1000)), []
    for one in asked(metric):
        if one == 'proposal_fast' and isinstance(numbers, list | tuple):
            found += [f'AR@{number}' for number in numbers]
        elif one == 'proposal':
            found += items or _PROPOSALS
        elif one == 'keypoints':
            found += [f'keypoints_{item}' for item in _KEYPOINTS]
        else:
            found += [f'{one}_{item}' for item in items or (_LVIS if kind == 'FasterLVISMetric' else _ITEMS)]
    prefix = metric.get('prefix') or prefixes[kind]
    return [f'{prefix}/{name}' for name in found]


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
