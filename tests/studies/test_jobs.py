"""Jobs: order, resumption, the lock, stopping. The jobs are small processes that log as MMEngine does."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rethink.analysis.logs import read_run
from rethink.errors import ConfigError
from rethink.files import exclusively
from rethink.studies.backends.local import Local
from rethink.studies.jobs import Job, Progress

# Counts to `last` in `step`s of `pause` seconds, from where its log ended, and logs its start and end in a journal.
TRAINER = textwrap.dedent("""
    import json, sys, time
    from pathlib import Path

    work_dir, journal = Path(sys.argv[1]), Path(sys.argv[2])
    last, pause, fails = int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == 'fails'
    logs = list(work_dir.glob('*/vis_data/scalars.json'))
    begun = max([0, *[json.loads(line)['step'] for log in logs for line in log.read_text().splitlines()]])
    log = work_dir / time.strftime('%Y%m%d_%H%M%S') / 'vis_data'
    log.mkdir(parents=True, exist_ok=True)

    def say(what):
        with open(journal, 'a') as file:
            file.write(f'{what} {work_dir.name}\\n')

    say(f'start {begun}')
    with open(log / 'scalars.json', 'a') as file:
        for step in range(begun + 1, last + 1):
            time.sleep(pause)
            if fails and step == 2:
                sys.exit('the disk of this trainer is full')
            file.write(json.dumps(dict(loss=1.0, step=step)) + '\\n')
            file.flush()
        file.write(json.dumps({'coco/bbox_mAP': 0.5, 'step': last}) + '\\n')
    say('end')
""")


@pytest.fixture
def trainer(tmp_path):
    script = tmp_path / 'trainer.py'
    script.write_text(TRAINER)
    journal = tmp_path / 'journal.txt'

    def job(name, last=3, pause=0.01, fails='', **more):
        work_dir = tmp_path / 'out' / name
        command = [sys.executable, str(script), str(work_dir), str(journal), str(last), str(pause), fails]
        return Job(name, command, work_dir, last, **more)

    job.folder = tmp_path / 'out'
    job.journal = lambda: journal.read_text().splitlines() if journal.exists() else []
    return job


def test_jobs_run_after_what_they_need_and_only_once(trainer):
    first = trainer('first')
    second = trainer('second', after=[first])
    other = trainer('other')
    Local(poll=0.02).run([second, first, other], trainer.folder)
    lines = trainer.journal()
    assert lines.index('end first') < lines.index('start 0 second')
    assert sorted(lines) == sorted(
        f'{what} {name}' for what in ('start 0', 'end') for name in ('first', 'second', 'other')
    )
    assert all(job.finished for job in (first, second, other))
    Local(poll=0.02).run([second, first, other], trainer.folder)
    assert trainer.journal() == lines


def test_one_at_a_time(trainer):
    Local(1, poll=0.02).run([trainer('a'), trainer('b')], trainer.folder)
    assert trainer.journal() == ['start 0 a', 'end a', 'start 0 b', 'end b']


def test_a_failing_job_lets_those_go_on_that_do_not_need_it(trainer, capsys):
    bad, good = trainer('bad', fails='fails'), trainer('good')
    needs = trainer('needs', after=[bad])
    last = trainer('last', after=[needs])
    failed = Local(1, poll=0.02).run([bad, good, needs, last], trainer.folder)
    assert failed.keys() == {bad, needs, last} and good.finished
    assert failed[bad].endswith('ends with: the disk of this trainer is full')
    assert failed[last] == 'last was not started: what it needs failed.'
    assert failed[bad] in capsys.readouterr().err
    assert trainer.journal() == ['start 0 bad', 'start 0 good', 'end good']


def test_stopped_by_a_signal_it_stops_its_jobs_and_goes_on_later(trainer, tmp_path):
    slow = trainer('slow', last=60, pause=0.05)
    process = subprocess.Popen(parent_of(slow, tmp_path), stderr=subprocess.PIPE, text=True)
    until(lambda: read_run(slow.work_dir).iteration >= 5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and 'KeyboardInterrupt' in errors
    stopped_at = read_run(slow.work_dir).iteration
    assert 5 <= stopped_at < 60
    time.sleep(0.3)
    assert read_run(slow.work_dir).iteration == stopped_at
    Local(poll=0.05).run([slow], trainer.folder)
    assert trainer.journal() == ['start 0 slow', f'start {stopped_at} slow', 'end slow']


def test_a_trainer_that_outlives_its_parent_keeps_the_folder(trainer, tmp_path):
    slow = trainer('slow', last=120, pause=0.05)
    process = subprocess.Popen(parent_of(slow, tmp_path), stderr=subprocess.DEVNULL)
    until(lambda: read_run(slow.work_dir).iteration >= 2)
    process.kill()
    process.wait()
    with pytest.raises(ConfigError, match='in use by what process .*parent.py.* has left behind'):
        Local(poll=0.05).run([slow], trainer.folder)
    until(lambda: slow.finished)
    until(lambda: free(trainer.folder))


def free(folder: Path) -> bool:
    try:
        with exclusively(folder):
            return True
    except ConfigError:
        return False


def parent_of(job: Job, folder: Path) -> list[str]:
    """The command of another process that runs ``job``."""
    script = folder / 'parent.py'
    script.write_text(
        'from pathlib import Path\n'
        'from rethink.studies.backends.local import Local\n'
        'from rethink.studies.jobs import Job\n'
        f'job = Job({job.name!r}, {job.command!r}, Path({str(job.work_dir)!r}), {job.iterations})\n'
        'Local(poll=0.05).run([job], job.work_dir.parent)\n'
    )
    return [sys.executable, str(script)]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


@pytest.fixture
def shown(tmp_path):
    """Runs one job that says what it was started with; also as dist_train.sh, which starts a training so."""
    (tmp_path / 'train.py').write_text(
        'import json, os, sys\n'
        'from pathlib import Path\n'
        "log = Path(sys.argv[1]) / 'now' / 'vis_data'\n"
        'log.mkdir(parents=True)\n'
        "environment = {name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'CUDA_VISIBLE_DEVICES', 'MINE')}\n"
        "(log / 'scalars.json').write_text(json.dumps(dict(step=1, arguments=sys.argv[2:], **environment)))\n"
    )
    (tmp_path / 'dist_train.sh').write_text('exec "$PYTHON" "$(dirname "$0")/train.py" "$1" "$2 processes" "${@:3}"')

    def run(backend: Local, *names: str, **more) -> list[dict]:
        folders = [tmp_path / 'out' / name for name in names]
        command = [sys.executable, str(tmp_path / 'train.py')]
        jobs = [Job(folder.name, [*command, str(folder), '--resume'], folder, 1, **more) for folder in folders]
        assert backend.run(jobs, tmp_path / 'out') == {}
        return [read_run(folder).val[1] for folder in folders]

    return run


def test_the_cores_are_shared_where_nobody_says_how_many_threads(shown, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    cores = len(os.sched_getaffinity(0))
    for side_by_side, processes in ((1, 1), (2, 1), (1, 2), (2, 2)):
        backend = Local(side_by_side, processes, poll=0.02)
        (said,) = shown(backend, f'{side_by_side}_{processes}', parallel=True)
        assert said['OMP_NUM_THREADS'] == str(max(1, cores // side_by_side // processes))
    monkeypatch.setenv('OMP_NUM_THREADS', str(cores + 1))
    assert shown(Local(2, 2, poll=0.02), 'as set', parallel=True)[0]['OMP_NUM_THREADS'] == str(cores + 1)
    monkeypatch.setenv('OMP_NUM_THREADS', '')
    assert shown(Local(1, poll=0.02), 'set to nothing')[0]['OMP_NUM_THREADS'] == str(cores)


def test_only_a_training_is_started_as_several_processes(shown):
    backend = Local(1, 3, poll=0.02)
    (said,) = shown(backend, 'training', parallel=True, environment=dict(MINE='a b'))
    assert said['arguments'] == ['3 processes', '--resume'] and said['MINE'] == 'a b'
    assert shown(backend, 'converter')[0]['arguments'] == ['--resume']


def test_jobs_side_by_side_have_gpus_of_their_own(shown):
    names = [f'{index}' for index in range(5)]
    said = shown(Local(2, gpus=['0', '1', '2', 'GPU-3'], poll=0.02), *names, parallel=True)
    assert [one['CUDA_VISIBLE_DEVICES'] for one in said[:2]] == ['0,1', '2,GPU-3']
    assert {one['CUDA_VISIBLE_DEVICES'] for one in said} == {'0,1', '2,GPU-3'}
    assert {one['arguments'][0] for one in said} == {'2 processes'}
    (alone,) = shown(Local(gpus=['4', '6'], poll=0.02), 'alone', parallel=True)
    assert (alone['CUDA_VISIBLE_DEVICES'], alone['arguments'][0]) == ('4,6', '2 processes')
    for wrong in (['0', '1', '2'], ['0', '0'], ['0']):
        with pytest.raises(ConfigError, match='cannot be shared by 2 jobs at a time'):
            Local(2, gpus=wrong)


def test_what_a_job_needs_is_run_with_it(trainer):
    first = trainer('first')
    assert Local(poll=0.02).run([trainer('second', after=[first])], trainer.folder) == {}
    assert first.finished


def test_progress_in_a_file_is_lines(trainer, tmp_path):
    process = subprocess.run(parent_of(trainer('one'), tmp_path), capture_output=True, text=True)
    lines = [line for line in process.stderr.splitlines() if line]
    assert '\r' not in process.stderr and lines[-1].startswith('training 100% |'), process.stderr


def test_a_resumed_log_is_read_as_one(tmp_path):
    for name, lines in {
        '20260101_000000': [dict(loss=3.0, step=1), dict(loss=2.0, step=2), {'coco/bbox_mAP': 0.1, 'step': 2}],
        '20260101_000100': [
            dict(loss=1.5, step=2),
            {'coco/bbox_mAP': 0.2, 'step': 2},
            dict(loss=1.0, step=3),
            {'coco/bbox_mAP': 0.3, 'step': 3},
        ],
    }.items():
        log = tmp_path / name / 'vis_data'
        log.mkdir(parents=True)
        (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"loss": 0.9, "st')
        (log / 'config.py').write_text('train_cfg = dict(max_iters=3)')
    run = read_run(tmp_path)
    assert {at: entry['loss'] for at, entry in run.train.items()} == {1: 3.0, 2: 1.5, 3: 1.0}
    assert run.curve('coco/bbox_mAP') == [(2, 0.2), (3, 0.3)]
    assert run.finished and run.iteration == run.max_iters == 3


def test_a_folder_without_a_log_is_a_run_that_has_not_begun(tmp_path):
    run = read_run(tmp_path / 'nothing')
    assert (run.iteration, run.max_iters, run.finished, run.curve('coco/bbox_mAP')) == (0, None, False, [])


def test_the_time_left_of_a_training_that_goes_on_behind_its_log(tmp_path):
    """It was killed at 40 with a checkpoint of 20: the pace is that of the iterations since, and never negative."""
    job = Job('one', [], tmp_path, 100)

    def log(start: str, steps: range) -> None:
        folder = tmp_path / start / 'vis_data'
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(dict(loss=1.0, step=step)) for step in steps]
        (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')

    log('20260101_000000', range(1, 41))
    bar = Progress([job])
    for done, left in ((22, r'\?'), (30, r'2:2\d:\d\d')):
        log('20260102_000000', range(21, done + 1))
        bar.due, bar.start_t = 0.0, time.time() - 1000
        bar.show([job])
        assert re.search(f' {left} left, one {done}/100', str(bar)), str(bar)
    bar.close()
