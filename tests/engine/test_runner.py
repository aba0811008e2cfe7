"""What a run leaves behind says what it was trained with, also after a test in the same work directory."""

import json
import subprocess
import sys

import pytest
import rethink
import torch
from conftest import write_detector
from rethink.analysis import published
from rethink.analysis.logs import read_run
from rethink.configs import provenance
from rethink.trust.dumped import trained_with
from rethink.version import __version__, with_commit


@pytest.fixture
def short(tmp_path, data):
    """Two iterations of four images, in a work directory of its own."""
    more = 'train_cfg.update(max_iters=2, val_interval=2)\nparam_scheduler = []\n'
    more += "default_hooks['logger']['log_metric_by_epoch'] = False\n"
    more += f"visualizer['name'] = '{tmp_path}'"  # MMEngine keeps one of a name for the whole process
    return write_detector(tmp_path / 'tiny.py', data, more)


def test_a_training_stays_what_it_was_when_it_is_tested(short, tmp_path, run_in_process):
    work_dir = tmp_path / 'work'
    code, printed = run_in_process('train.py', short, '--work-dir', work_dir, '--auto-scale')
    assert code is None, printed
    before = {path: path.read_bytes() for path in work_dir.rglob('*.py')}
    checkpoint = work_dir / 'iter_4.pth'
    arguments = ('--work-dir', work_dir, '--cfg-options', 'visualizer.name=test')
    code, printed = run_in_process('test.py', short, checkpoint, *arguments)
    assert code is None, printed
    assert len(list(work_dir.glob('*/vis_data/config.py'))) == 2

    run = read_run(work_dir)
    assert (run.max_iters, run.iteration, run.finished) == (4, 4, True)
    assert run.config.auto_scaled == dict(images_in_iteration=2, images_in_step=2)
    assert provenance.read(str(work_dir)).values == provenance.read(str(checkpoint)).values
    assert provenance.read(str(work_dir)).file == str(work_dir / 'tiny.py')
    assert all(path.read_bytes() == text for path, text in before.items())
    row = published.Row('work', 'box AP', 'table 1', 1.0, run)
    assert row.measured is not None and row.status == 'finished'

    # The versions, in the checkpoint and as the first line of both logs.
    assert torch.load(checkpoint, weights_only=False)['meta']['rethink_version'] == with_commit()
    logs = list(work_dir.glob('*/*.log'))
    assert len(logs) == 2
    assert all(log.read_text().splitlines()[0].endswith(f'rethink {with_commit()}') for log in logs)


def start(work_dir, name: str, train=(), val=(), **config):
    """A log folder, of a training that has logged these steps."""
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'config.py').write_text('\n'.join(f'{key} = {value!r}' for key, value in config.items()))
    lines = [dict(loss=1.0, step=step) for step in train] + [dict(ap=float(name), step=step) for step in val]
    if lines:
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    return folder / 'config.py'


def test_which_config_a_run_was_trained_with(tmp_path):
    assert trained_with(tmp_path) is None
    test = start(tmp_path, '1')
    (tmp_path / '1' / '1.json').write_text('{}')
    assert trained_with(tmp_path) == test
    begun = start(tmp_path, '2')  # has logged nothing yet
    start(tmp_path, '3')
    (tmp_path / '3' / '3.json').write_text('{}')
    assert trained_with(tmp_path) == begun
    logged = start(tmp_path, '4', train=[1])
    start(tmp_path, '5')  # a test that was killed
    assert trained_with(tmp_path) == logged


def test_a_training_that_begins_anew_is_another_one(tmp_path):
    start(tmp_path, '1', train=[1, 2, 3, 4], val=[2, 4], train_cfg=dict(max_iters=4))
    assert read_run(tmp_path).finished
    start(tmp_path, '2', train=[1, 2], val=[2], train_cfg=dict(max_iters=4))
    run = read_run(tmp_path)
    assert run.curve('ap') == [(2, 2.0)]
    assert (run.iteration, run.finished) == (2, False)


def test_an_epoch_that_a_training_repeats_is_not_over(tmp_path):
    folder = tmp_path / '1' / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'config.py').write_text('train_cfg = dict(max_epochs=3)')
    entries = [dict(loss=1.0, step=10 * epoch, epoch=epoch) for epoch in (1, 2, 3)]
    entries += [dict(ap=0.1, step=epoch) for epoch in (1, 2, 3)]
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, entries)))
    assert read_run(tmp_path).finished
    (tmp_path / '2').mkdir()
    (tmp_path / '2' / 'vis_data').mkdir()
    (tmp_path / '2' / 'vis_data' / 'config.py').write_text('train_cfg = dict(max_epochs=3)')
    (tmp_path / '2' / 'vis_data' / 'scalars.json').write_text(json.dumps(dict(loss=1.0, step=20, epoch=2)))
    run = read_run(tmp_path)
    assert (list(run.val), list(run.train), run.finished) == ([1], [10, 20], False)


def test_the_commit_is_that_of_these_files_and_of_no_other_repository(tmp_path):
    def version_in(folder):
        code = 'import version; print(version.with_commit())'
        return subprocess.run(
            [sys.executable, '-c', code], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    source = rethink.version.__file__
    with open(source) as file:
        text = file.read()
    (tmp_path / 'version.py').write_text(text)
    git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', '-C', str(tmp_path)]
    assert version_in(tmp_path) == __version__  # no repository
    subprocess.run([*git, 'init', '-q'], check=True)
    subprocess.run([*git, 'commit', '-q', '--allow-empty', '-m', 'x'], check=True)
    assert version_in(tmp_path) == __version__  # one that does not know the file, as around an installed wheel
    subprocess.run([*git, 'add', 'version.py'], check=True)
    subprocess.run([*git, 'commit', '-q', '-m', 'y'], check=True)
    commit = subprocess.run([*git, 'rev-parse', 'HEAD'], check=True, capture_output=True, text=True).stdout[:8]
    assert version_in(tmp_path) == f'{__version__}+{commit}'
    (tmp_path / 'version.py').write_text(text + '\n')
    assert version_in(tmp_path) == f'{__version__}+{commit}.dirty'
