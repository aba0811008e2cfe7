"""Area under the ROC curve, for data sets with several labels for each image."""

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmpretrain.registry import METRICS

EXCLUDED = -1
# What the mean over the classes takes for one that has no AUROC; None leaves it out.
_ONE_SIDED = dict(ignored=None, zero=0.0)
_POLICIES = dict(negative=0, positive=1, ignored=EXCLUDED)


def auroc(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class, (C,) float64 in [0, 1].

    It is the share of pairs of a positive and a negative image in which the positive one scores higher; a tie counts
    half (Mann-Whitney's U with midranks, Hanley and McNeil 1982). Pairs are counted in integers, so the result is
    exact but for one division.

    Args:
        scores: (N, C) floating, higher for positive; only their order counts.
        targets: (N, C) integer: 1 positive, 0 negative, -1 left out of this class.

    Returns:
        nan for a class without a positive or without a negative image, and for one with a score that is nan.
    """
    return np.array([_auroc(score, target) for score, target in zip(scores.T, targets.T, strict=True)])


def _auroc(scores: np.ndarray, targets: np.ndarray) -> float:
    scores = np.ascontiguousarray(scores)
    positive, negative = np.sort(scores[targets == 1]), np.sort(scores[targets == 0])
    # nan is sorted to the end.
    if not len(positive) or not len(negative) or np.isnan(positive[-1]) or np.isnan(negative[-1]):
        return np.nan
    # Searching for the fewer among the more, in order, costs little beside the sort.
    fewer, more = sorted((positive, negative), key=len)
    below = np.searchsorted(more, fewer)
    ties = more[np.minimum(below, len(more) - 1)] == fewer
    tied = np.searchsorted(more, fewer[ties], 'right') - below[ties]
    share = (2 * int(below.sum()) + int(tied.sum())) / (2 * len(fewer) * len(more))
    return share if fewer is positive else 1 - share


@METRICS.register_module()
class MultiLabelAUROC(BaseMetric):
    """AUROC of each class and its mean over the classes, in points of 100 (:func:`auroc`).

    ``multi-label/AUROC`` is the mean, ``multi-label/AUROC_classwise`` the list. A class that has only positive or only
    negative images has no AUROC: it is None in the list, named in the log, and left out of the mean or, as in HPT's
    release, a 0 in it. A score that is nan, as of a training that diverged, makes the mean nan.

    Samples have ``pred_score`` (C,) and ``gt_label``, the indices of the positive classes, and may have ``uncertain``
    and ``missing``, indices of classes, as :class:`rethink.datasets.multi_label.UncertainMultiLabelDataset` gives them
    where ``PackInputs.meta_keys`` names them.

    Args:
        uncertain: what an uncertain class counts as, whatever the data set makes of it: ``'negative'`` (as in HPT,
            Reed et al. 2022), ``'positive'`` or ``'ignored'``, which leaves the image out of that class.
        missing: the same for a class of which nothing is said.
        one_sided: what a class with one kind of image counts as in the mean, ``'ignored'`` or ``'zero'`` (the release
            of HPT, openselfsup/models/utils/accuracy.py).
        kwargs: ``collect_device`` and ``prefix`` of ``BaseMetric``.

    Raises:
        ValueError: another policy.
    """

    default_prefix = 'multi-label'

    def __init__(
        self, uncertain: str = 'negative', missing: str = 'negative', one_sided: str = 'ignored', **kwargs
    ) -> None:
        known = dict(uncertain=_POLICIES, missing=_POLICIES, one_sided=_ONE_SIDED)
        for name, policy in dict(uncertain=uncertain, missing=missing, one_sided=one_sided).items():
            if policy not in known[name]:
                wanted = ', '.join(map(repr, known[name]))
                raise ValueError(f'MultiLabelAUROC has {name}={policy!r}; set one of {wanted}.')
        self.policies = dict(uncertain=_POLICIES[uncertain], missing=_POLICIES[missing])
        self.one_sided = _ONE_SIDED[one_sided]
        super().__init__(**kwargs)

    def process(self, data_batch, data_samples: list[dict]) -> None:
        """Keep scores (C,) and targets (C,) of the images of a batch."""
        for sample in data_samples:
            scores = torch.as_tensor(sample['pred_score']).float().cpu().numpy()
            targets = np.zeros(len(scores), np.int8)
            targets[torch.as_tensor(sample['gt_label']).cpu().numpy()] = 1
            for name, target in self.policies.items():
                targets[list(sample.get(name, ()))] = target
            self.results.append((scores, targets))

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict:
        """Metrics by name, without the prefix, from what :meth:`process` kept in all processes."""
        scores, targets = (np.stack(part) for part in zip(*results, strict=True))
        found = 100 * auroc(scores, targets)
        both = (targets == 1).any(0) & (targets == 0).any(0)
        names = (self.dataset_meta or {}).get('classes') or list(map(str, range(len(both))))
        logger = MMLogger.get_current_instance()
        logger.info('AUROC: ' + ', '.join(f'{name} {value:.2f}' for name, value in zip(names, found, strict=True)))
        counted = found[both] if self.one_sided is None else np.where(both, found, self.one_sided)
        if not both.all():
            absent = [name for name, there in zip(names, both, strict=True) if not there]
            how = 'are left out of' if self.one_sided is None else f'count {self.one_sided:g} in'
            logger.warning(
                f'{len(absent)} of {len(both)} classes have only positive or only negative images and {how} the mean '
                f'AUROC: {", ".join(absent)}.'
            )
        return dict(
            AUROC=float(counted.mean()) if len(counted) else float('nan'),
            AUROC_classwise=[float(value) if there else None for value, there in zip(found, both, strict=True)],
        )
