"""Logs of a training that changes its detector on the way, read as one."""

import json
from pathlib import Path

import pytest
from rethink.analysis.logs import read_run
from rethink.analysis.published import Row
from rethink.studies.jobs import Job

METRIC = 'coco/bbox_mAP'


def write_log(folder: Path, steps, ap: dict, **config) -> None:
    """A log folder as MMEngine leaves it: a loss, the number of the step, for each step; AP where it was measured."""
    log = folder / 'vis_data'
    log.mkdir(parents=True)
    log.joinpath('config.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    lines = [dict(loss=float(step), step=step) for step in steps]
    lines += [{METRIC: value, 'step': step} for step, value in ap.items()]
    log.joinpath('scalars.json').write_text('\n'.join(map(json.dumps, lines)))


@pytest.fixture
def before(tmp_path):
    """Mask R-CNN up to iteration 4, where the switch is."""
    write_log(
        tmp_path / 'before_switch' / '20260101_000000', [1, 2, 3, 4], {2: 0.1, 4: 0.2}, train_cfg=dict(max_iters=4)
    )
    return tmp_path


def go_on(folder):
    """The cascade, iterations 5 to 7, and 7 and 8 after a kill."""
    config = dict(train_cfg=dict(max_iters=8), switch_from=dict(config='x.py', iteration=4))
    write_log(folder / '20260102_000000', [5, 6, 7], {6: 0.3}, **config)
    write_log(folder / '20260103_000000', [7, 8], {8: 0.4}, **config)


def test_both_parts_are_one_curve(before):
    go_on(before)
    run = read_run(before)
    assert list(run.train) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run.curve(METRIC) == [(2, 0.1), (4, 0.2), (6, 0.3), (8, 0.4)]
    assert run.finished and run.max_iters == run.iteration == 8


def test_before_the_switch_the_training_has_progress_and_is_not_finished(before):
    run, job = read_run(before), Job('cascade', [], before, 8)
    assert (run.iteration, run.max_iters, run.finished) == (4, None, False)
    assert (job.done, job.finished) == (4, False)
    assert Row('cascade', 'box AP', 'table 3', 48.6, run).status == 'at 4'
    go_on(before)
    assert (job.done, job.finished) == (8, True)


def test_an_iteration_at_the_switch_is_there_once_and_the_later_log_holds(before):
    config = dict(train_cfg=dict(max_iters=8), switch_from=dict(config='x.py', iteration=4))
    write_log(before / '20260102_000000', [4, 5], {4: 0.25}, **config)
    assert read_run(before).curve(METRIC) == [(2, 0.1), (4, 0.25)]
    assert list(read_run(before).train) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ('switch_from', 'losses', 'curve'),
    [
        # The first part's log goes further than the switch: the rest of it was another training.
        (dict(iteration=2), {1: 1.0, 2: 2.0, 6: 6.0}, [(2, 0.1), (6, 0.3)]),
        # The first part was trained elsewhere.
        (dict(iteration=4, checkpoint='elsewhere.pth'), {6: 6.0}, [(6, 0.3)]),
    ],
)
def test_what_the_training_did_not_go_on_from_is_no_part_of_it(before, switch_from, losses, curve):
    config = dict(train_cfg=dict(max_iters=8), switch_from=dict(config='x.py', **switch_from))
    write_log(before / '20260102_000000', [6], {6: 0.3}, **config)
    run = read_run(before)
    assert {at: entry['loss'] for at, entry in run.train.items()} == losses
    assert run.curve(METRIC) == curve
