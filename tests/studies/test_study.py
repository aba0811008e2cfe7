"""What a study file says, which jobs that makes, and what is said of one that says nothing sensible."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from rethink.errors import ConfigError
from rethink.studies import figures, results, status, study
from rethink.studies.backends.local import Local
from rethink.studies.plan import Plan, listing
from rethink.studies.trainings import Command, Training

TOOLS = ROOT / 'tools'
CONFIG = """
model = dict(type='Tiny', init_cfg=dict(checkpoint='weights.pth'))
train_dataloader = dict(batch_size=2, dataset=dict(type='CocoDataset'))
val_dataloader = dict(dataset=dict(type='CocoDataset'))
auto_scale_lr = dict(base_batch_size=16)
val_evaluator = dict(type='CocoMetric', ann_file='val.json')
max_iters = {iters}
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=10)
default_hooks = dict(logger=dict(type='LoggerHook', log_metric_by_epoch=False))
"""
USERS = """
question: Does pre-training help on my images?
metric: coco/bbox_mAP
seeds: [0, 1]
factors:
  length: [6x, 1x]
  init: [scratch, pretrain]
runs:
  '{init}_r50_{length}': {}
claims:
  pre-training is ahead after {length}: pretrain_r50_{length} > scratch_r50_{length}
"""


@pytest.fixture
def folder(tmp_path):
    """Four configs and a study of them."""
    for init in ('scratch', 'pretrain'):
        for length, iters in (('1x', 30), ('6x', 180)):
            (tmp_path / f'{init}_r50_{length}.py').write_text(CONFIG.format(iters=iters))
    (tmp_path / 'classifier.py').write_text(CONFIG.format(iters=20))
    (tmp_path / 'study.yml').write_text(USERS)
    return tmp_path


def declare(folder: Path, text: str) -> study.Study:
    (folder / 'study.yml').write_text(text)
    return study.read(folder / 'study.yml')


def plan_of(folder: Path, **more) -> Plan:
    return Plan(study.read(folder), folder / 'out', TOOLS, **more)


def test_a_study_in_a_few_lines_is_every_combination_of_its_factors(folder):
    assert len(USERS.strip().splitlines()) <= 15
    read = study.read(folder)
    names = ['scratch_r50_6x', 'pretrain_r50_6x', 'scratch_r50_1x', 'pretrain_r50_1x']
    assert [run.name for run in read.runs] == names
    assert read.runs[0].factors == dict(length='6x', init='scratch')
    assert read.name == folder.name and read.title == read.question
    assert (
        read.claims['pre-training is ahead after 1x'] == 'pretrain_r50_1x > scratch_r50_1x' and len(read.claims) == 2
    )


def test_a_plan_has_a_training_for_each_run_and_seed(folder):
    plan = plan_of(folder)
    assert [(task.run.name, task.seed) for task in plan.tasks[::4]] == [('scratch_r50_6x', 0), ('scratch_r50_6x', 1)]
    task = plan.task('pretrain_r50_1x', 1)
    work_dir = folder / 'out' / 'seed1' / 'pretrain_r50_1x'
    assert task.job.command[1:] == [
        str(TOOLS / 'train.py'), str(folder / 'pretrain_r50_1x.py'), '--work-dir', str(work_dir), '--resume',
        '--cfg-options', 'randomness.seed=1', f'val_evaluator.outfile_prefix={work_dir}/predictions',
    ]  # fmt: skip
    assert task.job.iterations == 30 and not task.job.by_epoch and task.images == 16 * 30
    assert task.cfg.val_evaluator.outfile_prefix == f'{work_dir}/predictions'


def test_what_a_run_needs_comes_before_it_and_hands_on_its_result(folder):
    declare(
        folder,
        """
question: Does it?
metric: coco/bbox_mAP
factors:
  init:
    scratch: {model.init_cfg: null}
    pretrain: {model.init_cfg.checkpoint: '{checkpoint:classifier}'}
runs:
  '{init}_r50_1x': {after: [data]}
  classifier: {after: [data], metric: accuracy/top1}
  data: {script: dataset_converters/make_shapes.py, arguments: ['{out}/data'], makes: '{out}/data/done', once: true}
""",
    )
    plan = plan_of(folder, seeds=[3])
    assert [task.run.name for task in plan.tasks] == ['data', 'scratch_r50_1x', 'classifier', 'pretrain_r50_1x']
    data, scratch, classifier, pretrain = plan.tasks
    assert isinstance(data.job, Command) and data.seed is None and data.job.work_dir == folder / 'out' / 'data'
    assert data.job.makes == folder / 'out' / 'data' / 'done' and not data.job.finished
    assert pretrain.job.after == [classifier.job, data.job] and scratch.job.after == [data.job]
    checkpoint = folder / 'out' / 'seed3' / 'classifier' / 'iter_20.pth'
    assert pretrain.cfg.model.init_cfg.checkpoint == str(checkpoint) and scratch.cfg.model.init_cfg is None
    assert plan_of(folder, only=['pretrain*']).jobs[-1].name == 'pretrain_r50_1x' and len(plan_of(folder).jobs) == 4
    data.job.makes.parent.mkdir(parents=True)
    data.job.makes.touch()
    assert data.job.finished


def test_configs_are_found_by_parts_of_their_names_and_the_first_pattern_holds(folder):
    declare(
        folder,
        """
question: Does it?
metric: coco/bbox_mAP
runs:
  '{init:scratch}_{x:.+}': {metric: coco/segm_mAP}
  '{init:scratch|pretrain}_{model:.+}_{length}': {}
""",
    )
    read = study.read(folder)
    assert [run.name for run in read.runs] == [
        'scratch_r50_1x',
        'scratch_r50_6x',
        'pretrain_r50_1x',
        'pretrain_r50_6x',
    ]
    assert [run.metric for run in read.runs] == ['coco/segm_mAP'] * 2 + ['coco/bbox_mAP'] * 2
    assert read.run('pretrain_r50_6x').factors == dict(init='pretrain', model='r50', length='6x')
    assert [job.name for job in plan_of(folder, lengths=['6x']).jobs] == [
        'scratch_r50_1x',
        'scratch_r50_6x',
        'pretrain_r50_6x',
    ]


def test_epochs_are_followed_in_epochs(folder):
    text = CONFIG.format(iters=1).replace(
        "type='IterBasedTrainLoop', max_iters=max_iters", 'by_epoch=True, max_epochs=12'
    )
    (folder / 'scratch_r50_1x.py').write_text(text)
    job = plan_of(folder, only=['scratch_r50_1x'], seeds=[0]).jobs[0]
    assert job.by_epoch and job.iterations == 12
    # MMEngine's log says the epoch only where the logger counts in them.
    assert job.command[-1] == 'default_hooks.logger.log_metric_by_epoch=True'
    log = job.work_dir / 'day' / 'vis_data'
    log.mkdir(parents=True)
    (log / 'config.py').write_text(text)
    entries = [dict(loss=1.0, step=40, epoch=3), {'coco/bbox_mAP': 0.1, 'step': 2}]
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))
    assert job.done == 2 and not job.finished
    (log / 'scalars.json').write_text(json.dumps({'coco/bbox_mAP': 0.1, 'step': 12}))
    assert job.finished


def test_a_trial_trains_a_thirtieth(folder):
    job = plan_of(folder, quick=True, seeds=[0]).task('scratch_r50_6x', 0).job
    assert job.iterations == 6 and 'train_cfg.val_interval=6' in job.command
    assert 'default_hooks.checkpoint.interval=6' in job.command


def test_the_plan_says_what_it_costs_and_what_is_not_known(folder):
    text = listing(plan_of(folder, seeds=[0]), Local().command)
    assert '1. scratch_r50_6x: seed 0, 180 iterations, 2.88k images' in text
    assert shlex.join(plan_of(folder, seeds=[0]).jobs[0].command) in text
    assert '4 runs, 4 to do; 6.72k images' in text and 'hours of 4 of 4 trainings are not known' in text


def write_log(job: Training, entries: list[dict]) -> None:
    log = job.work_dir / 'day' / 'vis_data'
    log.mkdir(parents=True)
    (log / 'config.py').write_text(f'train_cfg = dict(max_iters={job.iterations})')
    (log / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))


def test_where_each_run_stands(folder):
    plan = plan_of(folder, seeds=[0])
    longest, other, short, last = plan.jobs
    write_log(longest, [dict(loss=1.0, time=2.0, step=60), {'coco/bbox_mAP': 0.123, 'step': 60}])
    write_log(short, [{'coco/bbox_mAP': 0.2, 'step': 30}])
    last.work_dir.mkdir(parents=True)
    (last.work_dir / status.FAILED).write_text('pretrain_r50_1x failed: no room on the disk.')
    text = status.table(plan).splitlines()
    assert text[0].split() == [
        'scratch_r50_6x', 'seed', '0', 'stopped', '60/180', 'coco/bbox_mAP', '12.3', '0:04:00', 'left',
    ]  # fmt: skip
    assert text[1].split()[3] == 'waiting' and text[2].split()[3] == 'finished'
    assert text[3].split()[3] == 'failed' and text[4].strip() == 'pretrain_r50_1x failed: no room on the disk.'
    assert text[5] == '4 runs: 1 stopped, 1 waiting, 1 finished, 1 failed.'


def test_results_are_one_tidy_table(folder):
    plan = plan_of(folder, seeds=[0])
    write_log(plan.jobs[0], [dict(loss=1.0, time=2.0, step=60), {'coco/bbox_mAP': 0.123, 'step': 60}, dict(step=180)])
    plan.save()
    rows = results.table(plan).splitlines()
    assert rows[0].split(',') == list(results.COLUMNS)
    assert rows[1].startswith(
        f'{plan.study.name},scratch_r50_6x,length=6x init=scratch,0,iteration,60,coco/bbox_mAP,12.3,'
    )
    elsewhere = Plan(plan.study, folder / 'elsewhere', TOOLS, seeds=[0])
    write_log(elsewhere.jobs[0], [{'coco/bbox_mAP': 0.1, 'step': 60}])
    digests = [csv.DictReader(results.table(one).splitlines()).__next__()['config'] for one in (plan, elsewhere)]
    assert digests[0] == digests[1]
    assert rows[1].endswith(',120') and 'torch' in rows[1] and len(rows) == 2
    # MMDetection logs no AP where not one box was detected.
    assert results.final(plan.tasks[0], 'coco/bbox_mAP') == 0.0
    assert results.final(plan.tasks[1], 'coco/bbox_mAP') is None


def test_a_metric_that_the_validation_does_not_log(folder):
    declare(folder, USERS.replace('coco/bbox_mAP', 'coco/box_mAP'))
    with pytest.raises(ConfigError, match=r"is compared by coco/box_mAP, and its validation logs 'coco/bbox_mAP', "):
        plan_of(folder).check()


def test_a_folder_keeps_to_its_config(folder):
    plan = plan_of(folder)
    plan.save()
    # Nothing is trained yet: a config that was mended since is taken.
    plan_of(folder, options=['train_dataloader.batch_size=8'])._refuse_another(plan.tasks[0])
    write_log(plan.jobs[0], [dict(loss=1.0, time=2.0, step=60)])
    plan.save()
    plan._refuse_another(plan.tasks[0])
    with pytest.raises(
        ConfigError, match='holds a training of another config than scratch_r50_6x .* train_dataloader.batch_size'
    ):
        changed = plan_of(folder, options=['train_dataloader.batch_size=4'])
        changed._refuse_another(changed.tasks[0])
    (plan.jobs[0].work_dir / 'study.json').write_text('{')
    with pytest.raises(ConfigError, match='is not the record of a training'):
        plan._refuse_another(plan.tasks[0])


@pytest.mark.parametrize(
    'change, sentence',
    [
        (('question:', 'answer:'), "has 'answer', which means nothing there"),
        (('metric: coco/bbox_mAP', ''), 'metric is missing'),
        (('seeds: [0, 1]', 'seeds: [zero]'), 'seeds are .* whole numbers'),
        (('seeds: [0, 1]', 'seeds: []'), 'at least one'),
        (('[6x, 1x]', '12'), 'the factor length is to be a list'),
        (('[6x, 1x]', '[6x, 2x]'), 'scratch_r50_2x'),
        (("'{init}_r50_{length}': {}", "'{init}_r101_{width}': {}"), 'fits no config .* {width} is no factor'),
        (("'{init}_r50_{length}': {}", "'{init}_r50_{length}': {lr: 1}"), "has 'lr', which means nothing there"),
        (("'{init}_r50_{length}': {}", "'{init}_r50_{length}': 3"), 'should be a dict'),
        (("'{init}_r50_{length}': {}", "'{init}_r50_{length}': {after: [gone]}"), 'comes after gone, which is none'),
        (("'{init}_r50_{length}': {}", "'{init}_r50_{length}': {makes: a}"), 'makes and arguments are of a command'),
        (("'{init}_r50_{length}': {}", "x_{length}: {script: a.py}"), 'is a command: it says what it makes'),
        ((' after {length}:', ':'), 'claims twice that pre-training is ahead'),
        (('pretrain_r50_{length} > scratch_r50_{length}', '[1]'), 'should be an expression'),
    ],
)  # fmt: skip
def test_a_study_that_says_something_else_is_one_sentence(folder, change, sentence):
    assert change[0] in USERS
    with pytest.raises(ConfigError, match=sentence):
        declare(folder, USERS.replace(*change))


def test_wrong_choices_are_one_sentence(folder):
    for more, sentence in (
        (dict(only=['x*']), 'no run of .* is named x'),
        (dict(lengths=['9x']), 'has the lengths 6x, 1x, and no 9x'),
        (dict(options=['lr']), 'is not of the form KEY=VALUE'),
    ):
        with pytest.raises(ConfigError, match=sentence):
            plan_of(folder, **more)
    declare(folder, USERS.replace("'{init}_r50_{length}': {}", "'{init}_r50_{length}': {after: [scratch_r50_1x]}"))
    with pytest.raises(ConfigError, match='which is a circle'):
        plan_of(folder)
    (folder / 'study_2.yml').write_text(USERS)
    with pytest.raises(ConfigError, match="has 'study.yml', 'study_2.yml'; name the file"):
        study.read(folder)


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'configs').glob('*/study*.yml')), ids=lambda path: f'{path.parent.name}-{path.stem}'
)
def test_our_studies_plan_every_training_in_seconds(path, monkeypatch):
    monkeypatch.delenv('HPT_DATASET', raising=False)
    read = study.read(path)
    plan = Plan(read, Path('out'), TOOLS)
    assert len(plan.tasks) >= 6 and listing(plan, Local(2).command)
    for job in plan.jobs:
        assert (TOOLS / job.command[1]).is_file()


def test_results_are_drawn_against_a_number(folder):
    declare(folder, USERS + 'figures: [{x: length, panel: init}]\n')
    plan = plan_of(folder)
    (asked,) = plan.study.figures
    assert figures.lines(plan, asked) == {}
    for task, value in zip(plan.tasks, (0.4, 0.41, 0.3, 0.35, 0.5, 0.51, 0.1, 0.13), strict=True):
        write_log(task.job, [{'coco/bbox_mAP': value, 'step': task.job.iterations}])
    found = figures.lines(plan, asked)
    assert list(found) == ['scratch', 'pretrain']
    ((x, mean, spread), last) = found['scratch']['r50']
    assert (x, last[0]) == (1.0, 6.0) and mean == pytest.approx(20) and spread == pytest.approx(14.142, abs=1e-3)
    # Runs of two patterns with the same factors are two lines.
    more = USERS.replace('runs:', "runs:\n  'B+T_{length}': {config: 'pretrain_r50_{length}'}")
    declare(folder, more + 'figures: [{x: length}]\n')
    plan = plan_of(folder)
    for task in (task for task in plan.tasks if task.run.name.startswith('B+T')):
        write_log(task.job, [{'coco/bbox_mAP': 0.6, 'step': task.job.iterations}])
    assert list(figures.lines(plan, plan.study.figures[0])['']) == ['B+T', 'scratch_r50', 'pretrain_r50']
    for wrong, sentence in (('[{y: length}]', 'dicts with an x'), ('[{x: width}]', 'no run has the factor width')):
        with pytest.raises(ConfigError, match=sentence):
            declare(folder, USERS + f'figures: {wrong}\n')


@pytest.mark.parametrize(
    'text, value', [('6x', 6), ('35k', 35_000), ('60ki', 60_000), ('0.1', 0.1), ('72e', 72), ('r50', None)]
)
def test_a_value_of_a_factor_may_be_a_number(text, value):
    assert figures.number(text) == value
