"""``--tensorboard``, ``--wandb``, ``--mlflow``: what they get is what the log has, and nothing else changes."""

import json
import os
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, run_tool, write_coco, write_detector
from mmengine.config import Config
from rethink.configs.diff import NAMES, diff
from rethink.configs.provenance import read
from rethink.engine import dashboards
from rethink.errors import ConfigError

# In the place of the packages: what MMEngine's backends call, written down. Of tensorboard it is PyTorch's part.
STANDS_IN = """
import json, os
def record(*what):
    with open(os.environ['RECORD'], 'a') as file:
        file.write(json.dumps(what, default=str) + '\\n')
"""
WANDB = """
from stands_in import record
class _Config:
    def update(self, *_, **__): pass
class _Run:
    def log_code(self, **_): pass
config, run = _Config(), _Run()
def init(**kwargs): record('wandb', 'init', kwargs)
def log(values, commit=True): record('wandb', 'log', values)
def watch(*_, **__): pass
def join(): record('wandb', 'join', None)
"""
MLFLOW = """
import json
from stands_in import record
class MlflowException(Exception): pass
def set_tracking_uri(uri): record('mlflow', 'uri', uri)
def get_experiment_by_name(name): return None
def create_experiment(name, artifact_location=None): pass
def set_experiment(name): pass
def set_tag(name, value): record('mlflow', name, value)
def log_params(values): pass
def log_text(*_): pass
def log_artifact(*_): pass
def log_metric(name, value, step): log_metrics({name: value}, step)
def log_metrics(values, step=None): record('mlflow', 'log', dict(values, step=step))
def end_run(): pass
"""
TENSORBOARD = """
import sys, types
from stands_in import record
class SummaryWriter:
    def __init__(self, folder): self.folder = folder
    def add_text(self, *_): pass
    def add_scalar(self, name, value, step): record('tensorboard', self.folder, {name: float(value), 'step': step})
    def close(self): pass
sys.modules['torch.utils.tensorboard'] = types.ModuleType('torch.utils.tensorboard')
sys.modules['torch.utils.tensorboard'].SummaryWriter = SummaryWriter
"""
REAL = find_spec('tensorboard') is not None
FLAGS = [f'--{name}' for name in dashboards.BACKENDS]


def weights(run):
    return torch.load(run / 'iter_4.pth', map_location='cpu')['state_dict']


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A folder with the work directories ``plain`` and ``watched``, and what the stand-ins wrote down."""
    folder = tmp_path_factory.mktemp('watched')
    modules = dict(stands_in=STANDS_IN, wandb=WANDB, mlflow=MLFLOW)
    if not REAL:
        modules |= dict(sitecustomize=TENSORBOARD, tensorboard='')
    for name, text in modules.items():
        (folder / f'{name}.py').write_text(text)
    config = write_detector(folder / 'tiny.py', write_coco(folder / 'data', images=4))
    short = ['--cfg-options', 'train_cfg.max_iters=4', 'train_cfg.val_interval=4']
    path = ':'.join(filter(None, [str(folder), str(ROOT / 'projects'), os.environ.get('PYTHONPATH')]))
    for name, flags in (('plain', []), ('watched', FLAGS)):
        done = run_tool(
            *('train.py', config, '--work-dir', folder / name, *flags, *short),
            # What stands in is imported when Python begins.
            **dict(cold=True, PYTHONPATH=path, RECORD=str(folder / 'record.jsonl')),
        )
        assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in (folder / 'record.jsonl').read_text().splitlines()]
    return SimpleNamespace(folder=folder, said=said, config=config, short=short, path=path)


def scalars(runs):
    (log,) = runs.folder.glob('watched/*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def losses(runs, name):
    return [what[2]['loss'] for what in runs.said if what[0] == name and 'loss' in (what[2] or ())]


def test_the_log_is_there_as_before_and_they_get_what_it_has(runs):
    expected = [entry['loss'] for entry in scalars(runs) if 'loss' in entry]
    assert len(expected) == 4
    for name in ('wandb', 'mlflow'):
        assert losses(runs, name) == expected
        assert any('coco/bbox_mAP' in what[2] for what in runs.said if what[0] == name and what[1] == 'log')


def test_tensorboard_has_the_losses(runs):
    expected = [entry['loss'] for entry in scalars(runs) if 'loss' in entry]
    (log,) = runs.folder.glob('watched/*/vis_data')
    if REAL:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(log))
        events.Reload()
        found = [(one.step, one.value) for one in events.Scalars('loss')]
        assert 'coco/bbox_mAP' in events.Tags()['scalars']
    else:
        entries = [what[2] for what in runs.said if what[0] == 'tensorboard']
        found = [(entry['step'], entry['loss']) for entry in entries if 'loss' in entry]
        assert {what[1] for what in runs.said if what[0] == 'tensorboard'} == {str(log)}
        assert any('coco/bbox_mAP' in entry for entry in entries)
    assert [step for step, _ in found] == [1, 2, 3, 4]
    assert [value for _, value in found] == pytest.approx(expected, rel=1e-6)


def aps_in(folder, record) -> list[tuple[int, float]]:
    """(iteration, AP) that TensorBoard was given of a training; of the package, out of its event file."""
    (log,) = folder.glob('*/vis_data')
    if REAL:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        assert list(log.glob('events.out.tfevents.*'))
        events = EventAccumulator(str(log))
        events.Reload()
        return [(one.step, one.value) for one in events.Scalars('coco/bbox_mAP')]
    said = [json.loads(line) for line in record.read_text().splitlines()]
    entries = [what[2] for what in said if what[:2] == ['tensorboard', str(log)]]
    return [(entry['step'], entry['coco/bbox_mAP']) for entry in entries if 'coco/bbox_mAP' in entry]


def test_a_study_hands_it_on_to_its_trainings(runs, tmp_path):
    record = tmp_path / 'record.jsonl'
    (tmp_path / 'tiny.py').write_text(runs.config.read_text())
    study = ['question: Q', 'metric: coco/bbox_mAP', "factors: {momentum: ['0.9', '0.8']}"]
    study.append(
        "runs: {'tiny_{momentum}': {config: tiny, options: {optim_wrapper.optimizer.momentum: '{momentum}'}}}"
    )
    (tmp_path / 'study.yml').write_text('\n'.join(study))
    every = ['train_cfg.max_iters=4', 'train_cfg.val_interval=2']
    done = run_tool(
        *('study.py', 'run', tmp_path, '--out-dir', tmp_path / 'out', '--tensorboard', '--cfg-options', *every),
        **dict(cold=True, PYTHONPATH=runs.path, RECORD=str(record)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trained = sorted((tmp_path / 'out' / 'seed0').iterdir())
    assert [one.name for one in trained] == ['tiny_0.8', 'tiny_0.9']
    for folder in trained:
        (log,) = folder.glob('*/vis_data/scalars.json')
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        logged = [(entry['step'], entry['coco/bbox_mAP']) for entry in entries if 'coco/bbox_mAP' in entry]
        assert [at for at, _ in logged] == [2, 4]
        found = aps_in(folder, record)
        assert [at for at, _ in found] == [2, 4]
        assert [value for _, value in found] == pytest.approx([value for _, value in logged], rel=1e-6)


def test_a_run_is_named_after_its_work_directory(runs):
    (init,) = [what[2] for what in runs.said if what[:2] == ['wandb', 'init']]
    assert init['name'] == str(runs.folder / 'watched')
    assert [what[2] for what in runs.said if what[1] == 'mlflow.runName'] == [str(runs.folder / 'watched')]


def test_what_is_trained_is_the_same_to_the_bit_and_to_a_comparison(runs):
    plain, watched = weights(runs.folder / 'plain'), weights(runs.folder / 'watched')
    assert plain.keys() == watched.keys() and all(torch.equal(plain[key], watched[key]) for key in plain)
    found = diff([read(str(runs.folder / name)) for name in ('plain', 'watched')])
    assert any('vis_backends' in str(one.label) for one in found)
    assert {one.group for one in found if not one.is_variable} == {NAMES}


def test_it_resumes_with_and_without(runs):
    more = [*runs.short[:1], 'train_cfg.max_iters=6', 'train_cfg.val_interval=6']
    for flags in (['--tensorboard'], []):
        environment = dict(PYTHONPATH=runs.path, RECORD=str(runs.folder / 'again.jsonl'))
        arguments = [runs.config, '--work-dir', runs.folder / 'watched', '--resume', *flags, *more]
        done = run_tool('train.py', *arguments, cold=bool(flags), **environment)
        assert done.returncode == 0, done.stderr
    assert (runs.folder / 'watched/iter_6.pth').is_file()


def test_one_that_is_not_installed_is_told_before_anything_is_built(tmp_path, data, run_in_process, monkeypatch):
    monkeypatch.setattr(dashboards, 'find_spec', lambda name: None)
    config = write_detector(tmp_path / 'tiny.py', data)
    for name in dashboards.BACKENDS:
        code, printed = run_in_process('train.py', config, '--work-dir', tmp_path / 'run', f'--{name}')
        assert code == 2 and f'error: --{name} needs the package {name}' in printed
        assert f'pip install {name}' in printed and not (tmp_path / 'run').exists()


def test_a_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / 'notes_of_wandb').mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_spec('notes_of_wandb') is not None
    with pytest.raises(ConfigError, match='pip install notes_of_wandb'):
        dashboards.check(['notes_of_wandb'])


@pytest.mark.parametrize('visualizer', [None, dict(type='DetLocalVisualizer', name='one')])
def test_the_local_one_stays_the_first_and_none_is_added_twice(visualizer, monkeypatch):
    monkeypatch.setattr(dashboards, 'check', lambda names: None)
    cfg = Config(dict(work_dir='w', visualizer=visualizer))
    dashboards.use(cfg, [])
    assert cfg.visualizer == visualizer
    for _ in range(2):
        dashboards.use(cfg, ['tensorboard', 'mlflow'])
        kinds = [one['type'] for one in cfg.visualizer.vis_backends]
        assert kinds == ['LocalVisBackend', 'TensorboardVisBackend', 'MLflowVisBackend']
    assert cfg.visualizer.get('name') == (visualizer or {}).get('name')
