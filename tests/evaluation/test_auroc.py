"""AUROC against a count of all pairs, its policies, and what MMEngine's evaluator makes of several processes."""

from unittest import mock

import numpy as np
import pytest
import rethink  # noqa: F401  (first: gives mmcv its ops)
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmpretrain.structures import DataSample
from rethink.evaluation.auroc import MultiLabelAUROC, auroc


def all_pairs(scores, targets) -> float:
    """One class, by its definition: every pair of a positive and a negative image, ties half."""
    positive, negative = scores[targets == 1].astype(float), scores[targets == 0].astype(float)
    wins = (positive[:, None] > negative).sum() + 0.5 * (positive[:, None] == negative).sum()
    return wins / (len(positive) * len(negative))


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
@pytest.mark.parametrize('levels', [None, 50, 3, 1], ids=['continuous', '50 values', '3 values', 'all tied'])
@pytest.mark.parametrize('share', [0.02, 0.5, 0.95])
def test_it_is_the_share_of_pairs_in_order(dtype, levels, share):
    random = np.random.default_rng(0)
    scores = random.normal(size=(400, 3)) if levels is None else random.integers(0, levels, (400, 3)) - levels / 2
    scores = scores.astype(dtype)
    targets = (random.random((400, 3)) < share).astype(np.int8)
    targets[random.random((400, 3)) < 0.1] = -1
    targets[:2] = [[0] * 3, [1] * 3]
    expected = [all_pairs(scores[:, index], targets[:, index]) for index in range(3)]
    assert auroc(scores, targets) == pytest.approx(expected, abs=1e-15)
    # The order of the scores is all that counts, and turning it round turns the area round.
    assert auroc(-scores, targets) == pytest.approx([1 - value for value in expected], abs=1e-15)


def test_perfect_random_and_reversed_orders():
    targets = np.array([[0], [0], [1], [1]], np.int8)
    for scores, area in (([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([5, 5, 5, 5], 0.5), ([1, 3, 3, 4], 0.875)):
        assert auroc(np.array(scores, float)[:, None], targets) == [area]


def test_one_kind_of_label_and_scores_that_are_no_numbers_have_no_area():
    scores = np.array([[0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, np.nan], [0.3, 0.3, 0.3, 0.3]])
    targets = np.array([[1, 0, -1, 1], [1, 0, 1, 0], [1, 0, -1, 0]], np.int8)
    assert np.isnan(auroc(scores, targets)).all()


def samples(scores, targets, **more):
    """As a model and ``PackInputs`` give them; ``more`` are lists of classes for each image."""
    found = []
    for index, (score, target) in enumerate(zip(scores, targets, strict=True)):
        sample = DataSample().set_pred_score(torch.as_tensor(score))
        sample.set_gt_label(torch.as_tensor(np.flatnonzero(target == 1)))
        sample.set_metainfo({name: values[index] for name, values in more.items()})
        found.append(sample)
    return found


@pytest.fixture
def batch():
    random = np.random.default_rng(1)
    scores = random.random((60, 4)).astype(np.float32)
    targets = (random.random((60, 4)) < 0.4).astype(np.int8)
    kinds = random.choice(3, (60, 4), p=(0.6, 0.2, 0.2))  # sure, uncertain, missing
    return scores, targets, kinds


def evaluate(metric, found, meta=None):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = meta
    for start in range(0, len(found), 16):
        evaluator.process(found[start : start + 16])
    return evaluator.evaluate(len(found))


@pytest.mark.parametrize('uncertain', ['negative', 'positive', 'ignored'])
@pytest.mark.parametrize('missing', ['negative', 'positive', 'ignored'])
def test_uncertain_and_missing_labels_count_as_the_policy_says(batch, uncertain, missing):
    scores, targets, kinds = batch
    expected = targets.copy()
    values = dict(negative=0, positive=1, ignored=-1)
    expected[kinds == 1], expected[kinds == 2] = values[uncertain], values[missing]
    wanted = [100 * all_pairs(scores[:, index], expected[:, index]) for index in range(4)]
    # Whatever the data set's own policy has put into gt_label.
    for as_positive in (False, True):
        given = np.where(kinds == 1, as_positive, targets)
        found = samples(
            scores,
            given,
            uncertain=[np.flatnonzero(row == 1).tolist() for row in kinds],
            missing=[np.flatnonzero(row == 2).tolist() for row in kinds],
        )
        metrics = evaluate(MultiLabelAUROC(uncertain, missing), found)
        assert metrics['multi-label/AUROC_classwise'] == pytest.approx(wanted)
        assert metrics['multi-label/AUROC'] == pytest.approx(np.mean(wanted))


def test_without_uncertain_and_missing_labels_no_policy_matters(batch):
    scores, targets, _ = batch
    results = {
        evaluate(MultiLabelAUROC(policy, policy), samples(scores, targets))['multi-label/AUROC']
        for policy in ('negative', 'positive', 'ignored')
    }
    assert len(results) == 1


def test_a_class_with_one_kind_of_label_is_left_out_of_the_mean_and_named(batch):
    scores, targets, _ = batch
    targets[:, 1], targets[:, 3] = 0, 1
    meta = dict(classes=('edema', 'fracture', 'effusion', 'device'))
    with mock.patch.object(MMLogger.get_current_instance(), 'warning') as warning:
        metrics = evaluate(MultiLabelAUROC(), samples(scores, targets), meta)
    wanted = [100 * all_pairs(scores[:, index], targets[:, index]) for index in (0, 2)]
    assert metrics['multi-label/AUROC'] == pytest.approx(np.mean(wanted))
    assert [value is None for value in metrics['multi-label/AUROC_classwise']] == [False, True, False, True]
    assert '2 of 4 classes' in warning.call_args.args[0] and 'fracture, device' in warning.call_args.args[0]


def test_a_class_with_one_kind_of_label_counts_0_as_released(batch):
    """openselfsup/models/utils/accuracy.py: zeros, and roc_auc_score of each class that has one."""
    scores, targets, _ = batch
    targets[:, 1], targets[:, 3] = 0, 1
    released = np.zeros(4)
    for index in (0, 2):
        released[index] = all_pairs(scores[:, index], targets[:, index])
    with mock.patch.object(MMLogger.get_current_instance(), 'warning') as warning:
        metrics = evaluate(MultiLabelAUROC(one_sided='zero'), samples(scores, targets))
    assert metrics['multi-label/AUROC'] == pytest.approx(100 * released.mean())
    assert [value is None for value in metrics['multi-label/AUROC_classwise']] == [False, True, False, True]
    assert 'count 0 in the mean' in warning.call_args.args[0]
    # What diverged is no class of one kind.
    scores[7, 2] = np.nan
    assert np.isnan(evaluate(MultiLabelAUROC(one_sided='zero'), samples(scores, targets))['multi-label/AUROC'])


def test_scores_that_are_no_numbers_are_not_left_out_of_the_mean(batch):
    scores, targets, _ = batch
    scores[7, 2] = np.nan
    assert np.isnan(evaluate(MultiLabelAUROC(), samples(scores, targets))['multi-label/AUROC'])


def test_another_policy_is_one_sentence():
    with pytest.raises(ValueError, match=r"has missing='drop'; set one of 'negative', 'positive', 'ignored'\."):
        MultiLabelAUROC(missing='drop')
    with pytest.raises(ValueError, match=r"has one_sided='half'; set one of 'ignored', 'zero'\."):
        MultiLabelAUROC(one_sided='half')


def _one_of_two(rank, folder, found):
    # A fork of a process whose threads have run would wait for them.
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    evaluator = Evaluator(MultiLabelAUROC())
    # As a distributed sampler deals them out; the last of 59 images is there twice.
    own = (found + found[:1])[rank::2]
    evaluator.process(own)
    metrics = evaluator.evaluate(len(found))
    torch.save(metrics, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


def test_two_processes_give_what_one_gives(batch, tmp_path):
    scores, targets, _ = batch
    found = samples(scores[:59], targets[:59])
    torch.multiprocessing.start_processes(_one_of_two, (str(tmp_path), found), 2, start_method='fork')
    alone = evaluate(MultiLabelAUROC(), found)
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pt', weights_only=False) == alone
