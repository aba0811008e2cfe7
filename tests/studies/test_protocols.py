"""Protocols of study B's evaluations: their trainings, what validation chooses, the tables, and wrong input."""

import csv
import io
import json
import sys

import pytest
import torch
from conftest import ROOT
from rethink.errors import ConfigError
from rethink.studies import protocols

HPT = ROOT / 'configs' / 'hpt'
SEMI = [HPT / f'finetune_r50_bn_semi_{length}.py' for length in ('2.5ki', '90e')]
LINEAR = HPT / 'freeze_r50_bn_linear_5ki.py'


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What reading a config sets is taken back."""
    for name in ('HPT_BASE', 'HPT_DATASET'):
        monkeypatch.setenv(name, 'resisc45')


def trainings(folder, path=LINEAR, options=(), reruns=3, processes=4):
    return protocols.Trainings(folder / path.stem, str(path), 'base.pth', 'resisc45', list(options), reruns, processes)


def test_a_protocol_is_every_learning_rate_and_rerun(tmp_path):
    for path, rates in ((LINEAR, {'0.3', '3', '30'}), (SEMI[0], {'0.01', '0.001'}), (SEMI[1], {'0.01', '0.001'})):
        one = trainings(tmp_path, path)
        jobs = one.jobs(['train.py', str(path)])
        assert len(jobs) == 3 * len(rates)
        configs = [one.grid.effective(point) for point in one.points]
        found = {(f'{cfg.optim_wrapper.optimizer.lr:g}', cfg.randomness.seed) for cfg in configs}
        assert found == {(rate, seed) for rate in rates for seed in range(3)}
        assert all(cfg.train_dataloader.batch_size == 128 for cfg in configs), '4 processes'
        for job in jobs:
            assert job.environment == dict(HPT_BASE='base.pth', HPT_DATASET='resisc45')
            assert job.iterations == configs[0].train_cfg.max_iters and '--resume' in job.command
        shared = [option for option in jobs[0].command if 'features' in option]
        assert len(shared) == (path == LINEAR)


def test_all_labels_give_epochs_the_length_that_they_have(tmp_path):
    folder = tmp_path / 'data' / 'splits'
    folder.mkdir(parents=True)
    (folder / 'train.txt').write_text(''.join(f'{index}.jpg {index % 45}\n' for index in range(18_900)))
    root = f'data_root={tmp_path / "data"}'
    options = {}
    for path in (*SEMI, LINEAR):
        cfg = protocols.load(str(path), 'base.pth', 'resisc45', [root])
        options[path] = protocols.with_all_labels(cfg)
    assert options[LINEAR] == []
    iterations, epochs = (trainings(tmp_path, path, [root, *options[path]]).cfg for path in SEMI)
    assert iterations.protocol == epochs.protocol == 'semi-all'
    assert (
        iterations.train_dataloader.dataset.ann_file == 'splits/train.txt' == epochs.train_dataloader.dataset.ann_file
    )
    assert iterations.train_cfg.max_iters == 2_500
    # 36 batches of 512 and one of 468.
    assert epochs.train_cfg.max_iters == epochs.param_scheduler[0].end == 90 * 37
    assert epochs.param_scheduler[0].milestones == [30 * 37, 60 * 37]
    assert epochs.train_cfg.max_iters % epochs.train_cfg.val_interval == 0
    assert epochs.train_cfg.max_iters % epochs.default_hooks.checkpoint.interval == 0


def log(one, lr, seed, values):
    """What a finished training leaves: (val, test) at each evaluation, the last at its end."""
    (point,) = [point for point in one.points if point.values == {'lr': lr, 'randomness.seed': str(seed)}]
    folder = one.grid.folder / point.name / '20260101_000000' / 'vis_data'
    folder.mkdir(parents=True)
    end = one.grid.iterations(point)
    steps = range(end - 100 * (len(values) - 1), end + 1, 100)
    lines = [
        {
            'val/accuracy/top1': val,
            'test/accuracy/top1': test,
            'test/single-label/recall': test - 1,
            'step': step,
        }
        for step, (val, test) in zip(steps, values, strict=True)
    ]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))


def test_validation_chooses_iteration_and_learning_rate_and_the_test_is_reported(tmp_path):
    one = trainings(tmp_path, reruns=2)
    nan = float('nan')
    for lr, runs in {
        # The best test is where validation is not best; of equal ones the earliest counts.
        '0.3': ([(70.0, 60.0), (71.0, 50.0), (71.0, 99.0)], [(69.0, 55.0), (60.0, 98.0), (60.0, 97.0)]),
        '3': ([(65.0, 90.0), (64.0, 91.0), (63.0, 92.0)], [(66.0, 93.0), (60.0, 94.0), (60.0, 95.0)]),
        '30': ([(99.0, 99.0), (nan, 1.0), (nan, 1.0)], [(nan, 20.0), (nan, 20.0), (nan, 20.0)]),
    }.items():
        for seed, values in enumerate(runs):
            log(one, lr, seed, values)
    arms = protocols.arms(one)
    best = protocols.chosen(arms)['linear']
    assert best.lr == '0.3' and best.val == 70
    assert [(run.iteration, run.val, run.test['accuracy/top1']) for run in best.reruns] == [
        (4_900, 71.0, 50.0),
        (4_800, 69.0, 55.0),
    ]
    text = protocols.write(tmp_path, arms, 'resisc45', 'B+T', '5000')
    # 50 and 55: mean 52.5, standard deviation of a sample 3.54.
    row = '| linear | freeze_r50_bn_linear_5ki | 0.3 | accuracy/top1 | 70.00 ± 1.41 | **52.50 ± 3.54** | 52.50 |'
    assert row + ' 4900, 4800 | 2 of 2 |' in text and text.count('**52.50') == 1
    assert '| single-label/recall |  | **51.50 ± 3.54** |' in text
    assert (tmp_path / 'table.md').read_text() == text + '\n'
    assert len(list(csv.reader((tmp_path / 'table.csv').open()))) == 7
    with open(tmp_path / 'results.csv', newline='') as file:
        found = [tuple(row.values()) for row in csv.DictReader(file)]
    assert found == [
        ('resisc45', 'B+T', '5000', 'linear', 'accuracy/top1', '0', '50', '71'),
        ('resisc45', 'B+T', '5000', 'linear', 'accuracy/top1', '1', '55', '69'),
    ]


def test_configs_of_one_protocol_compete_and_nothing_is_chosen_before_all_are_finished(tmp_path):
    both = [trainings(tmp_path, path, reruns=1) for path in SEMI]
    for one, values in zip(both, ([(70.0, 1.0)], [(80.0, 2.0)]), strict=True):
        log(one, '0.01', 0, values)
    log(both[0], '0.001', 0, [(75.0, 3.0)])
    arms = [arm for one in both for arm in protocols.arms(one)]
    assert protocols.chosen(arms) == {} and '0 of 1' in protocols.markdown(arms)
    assert len(protocols.results(arms, 'resisc45', '', '')) == 1
    log(both[1], '0.001', 0, [(60.0, 4.0)])
    best = protocols.chosen([arm for one in both for arm in protocols.arms(one)])['semi']
    assert (best.config, best.lr, best.reruns[0].test['accuracy/top1']) == ('finetune_r50_bn_semi_90e', '0.01', 2.0)


def test_validation_chooses_among_the_recipes_of_one_arm(tmp_path):
    """HPT-BN in the figures is the best of four recipes; here by validation."""
    files = [str(tmp_path / name / 'backbone.pth') for name in ('lr0.03', 'lr0.1')]
    labels = protocols.labels_of(files)
    assert list(labels.values()) == ['lr0.03_backbone', 'lr0.1_backbone'] and protocols.labels_of(files[:1]) == {
        files[0]: ''
    }
    both = [
        protocols.Trainings(tmp_path / label / LINEAR.stem, str(LINEAR), file, 'resisc45', [], 1, 4, label)
        for file, label in labels.items()
    ]
    assert [one.environment['HPT_BASE'] for one in both] == files
    names = [job.name for one in both for job in one.jobs(['train.py', str(LINEAR)])]
    assert len(set(names)) == 6
    for one, best in zip(both, (70.0, 80.0), strict=True):
        for lr in ('0.3', '3', '30'):
            log(one, lr, 0, [(best if lr == '3' else 1.0, best + 5)])
    arms = [arm for one in both for arm in protocols.arms(one)]
    chosen = protocols.chosen(arms)['linear']
    assert (chosen.config, chosen.lr) == (f'{LINEAR.stem} of lr0.1_backbone', '3')
    text = protocols.write(tmp_path, arms, 'resisc45', 'B+T-BN', '5000')
    assert text.count('**85.00**') == 1 and '**75.00**' not in text and 'of lr0.03_backbone' in text
    with open(tmp_path / 'results.csv', newline='') as file:
        assert [row['value'] for row in csv.DictReader(file)] == ['85']
    with pytest.raises(ConfigError, match='not as many backbones as names; name each file once'):
        protocols.labels_of([files[0], files[0]])


def test_the_tool_evaluates_several_backbones_as_one_arm(run_in_process, tmp_path, monkeypatch):
    for name in ('one', 'other'):
        (tmp_path / name).mkdir()
        torch.save({'backbone.conv1.weight': torch.zeros(1)}, tmp_path / name / 'backbone.pth')
    command = ['hpt_evaluate.py', *(tmp_path / name / 'backbone.pth' for name in ('one', 'other'))]
    code, printed = run_in_process(*command, '--dataset', 'resisc45', '--protocol', 'linear', '--dry-run')
    assert not code, printed
    for name in ('one', 'other'):
        assert printed.count(f'{name}_backbone/freeze_r50_bn_linear_5ki/lr=') >= 9


def test_wrong_input_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match='3 processes cannot share the 512 images of a step'):
        trainings(tmp_path, processes=3)
    other = tmp_path / 'other.py'
    other.write_text("model = dict(type='ImageClassifier')\n")
    with pytest.raises(ConfigError, match='does not say protocol, learning_rates, metric; name one like'):
        protocols.load(str(other), 'base.pth', None, [])
    weights = tmp_path / 'weights.pth'
    torch.save({'backbone.conv1.weight': torch.zeros(1)}, weights)
    protocols.refuse_other_weights(tmp_path / 'out', str(weights))
    protocols.refuse_other_weights(tmp_path / 'out', str(weights))
    torch.save({'backbone.conv1.weight': torch.ones(1)}, weights)
    with pytest.raises(
        ConfigError, match='has results of another .*weights.pth than there is now; name another --out'
    ):
        protocols.refuse_other_weights(tmp_path / 'out', str(weights))


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['nowhere.pth'], 'nowhere.pth does not exist; name a checkpoint.'),
        (['nowhere.pth', '--protocol', 'lines'], 'there is no protocol lines; the configs have linear, semi.'),
        (['nowhere.pth', '--reruns', '0'], '--reruns is 0, and is to be 1 or more.'),
        (['nowhere.pth', '--dataset', 'mars'], 'hpt_mars'),
    ],
)
def test_the_tool_ends_before_anything_is_written(run_in_process, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'stderr', io.StringIO())
    code, _ = run_in_process('hpt_evaluate.py', *arguments)
    (line,) = [line for line in sys.stderr.getvalue().splitlines() if line.startswith('error: ')]
    assert code == 2 and sentence in line
    assert not (tmp_path / 'work_dirs').exists()
