"""The names of metrics that are known before a training are those that the metrics log."""

import numpy as np
import pytest
import torch
from mmdet.evaluation import VOCMetric
from mmpretrain.evaluation import Accuracy, AveragePrecision, MultiLabelMetric, SingleLabelMetric
from mmpretrain.evaluation.metrics import VOCAveragePrecision, VOCMultiLabelMetric
from rethink.evaluation.auroc import MultiLabelAUROC
from rethink.evaluation.names import logged_names, names_of


def voc() -> dict:
    box = np.array([[1.0, 1, 9, 9]], np.float32)
    nothing = dict(bboxes_ignore=box[:0], labels_ignore=np.zeros(0, int))
    found = [np.hstack([box, [[0.9]]]), np.zeros((0, 5), np.float32)]
    return [(dict(bboxes=box, labels=np.zeros(1, int), **nothing), found)]


def single() -> list[dict]:
    scores = torch.eye(6)[:, :6]
    return [dict(pred_score=scores[index], gt_label=torch.tensor([index])) for index in range(6)]


def several() -> list[dict]:
    return [dict(pred_score=torch.eye(3)[index], gt_score=torch.eye(3)[index]) for index in range(3)]


def auroc() -> list[tuple]:
    return [(np.eye(3)[index], np.eye(3, dtype=np.int8)[index]) for index in range(3)]


@pytest.mark.parametrize(
    ('kind', 'results', 'arguments'),
    [
        (VOCMetric, voc, dict()),
        (VOCMetric, voc, dict(iou_thrs=[0.5, 0.75], metric='mAP')),
        (VOCMetric, voc, dict(iou_thrs=0.55, metric=['mAP'], prefix='mine')),
        (VOCMetric, voc, dict(metric='recall', proposal_nums=(10, 100))),
        (VOCMetric, voc, dict(metric='recall', proposal_nums=(10,), iou_thrs=[0.5, 0.75])),
        (Accuracy, single, dict()),
        (Accuracy, single, dict(topk=(1, 5), thrs=(0.0, None, 0.5))),
        (SingleLabelMetric, single, dict()),
        (SingleLabelMetric, single, dict(items=['recall'], thrs=(0.1, None))),
        (SingleLabelMetric, single, dict(average='micro')),
        (SingleLabelMetric, single, dict(average=None, items=('support', 'precision'))),
        (MultiLabelMetric, several, dict()),
        (MultiLabelMetric, several, dict(thr=0.3, average='micro')),
        (MultiLabelMetric, several, dict(topk=2, average=None)),
        (VOCMultiLabelMetric, several, dict(thr=0.3)),
        (AveragePrecision, several, dict()),
        (AveragePrecision, several, dict(average=None, prefix='x')),
        (VOCAveragePrecision, several, dict()),
        (MultiLabelAUROC, auroc, dict()),
    ],
)
def test_they_are_those_that_are_logged(kind, results, arguments):
    metric = kind(**arguments)
    metric.dataset_meta = dict(classes=('a', 'b', 'c'))
    content = results()
    if isinstance(metric, VOCMetric):
        metric.dataset_meta = dict(classes=('a', 'b'))
    logged = [f'{metric.prefix}/{name}' for name in metric.compute_metrics(content)]
    assert sorted(logged_names(dict(type=kind.__name__, **arguments))) == sorted(logged) and logged


def test_of_several_metrics_and_of_what_is_not_known():
    dump = dict(type='DumpResults', out_file_path='x.pkl')
    both = dict(val_evaluator=[dict(type='mmpretrain.Accuracy', topk=1), dump])
    assert names_of(both) == ['accuracy/top1']
    for other in (dict(type='Mine'), dict(type='VOCMetric', iou_thrs='half'), dict(type='CocoMetric', classwise=True)):
        assert names_of(dict(val_evaluator=other)) is None
