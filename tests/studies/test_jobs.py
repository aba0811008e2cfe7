"""Jobs: order, resumption, the lock, stopping. The jobs are small processes that log as MMEngine does."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from rethink.analysis.logs import read_run
from rethink.errors import ConfigError, JobError
from rethink.files import exclusively
from rethink.studies.jobs import Job, run_jobs

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
    run_jobs([second, first, other], trainer.folder, poll=0.02)
    lines = trainer.journal()
    assert lines.index('end first') < lines.index('start 0 second')
    assert sorted(lines) == sorted(
        f'{what} {name}' for what in ('start 0', 'end') for name in ('first', 'second', 'other')
    )
    assert all(job.finished for job in (first, second, other))
    run_jobs([second, first, other], trainer.folder, poll=0.02)
    assert trainer.journal() == lines


def test_one_at_a_time(trainer):
    run_jobs([trainer('a'), trainer('b')], trainer.folder, side_by_side=1, poll=0.02)
    assert trainer.journal() == ['start 0 a', 'end a', 'start 0 b', 'end b']


def test_a_failing_job_is_named_with_its_last_words_and_stops_the_others(trainer):
    with pytest.raises(JobError, match='bad failed, its output is in .*ends with: the disk of this trainer is full'):
        run_jobs(
            [trainer('bad', fails='fails'), trainer('slow', last=1000)], trainer.folder, side_by_side=2, poll=0.02
        )
    assert 'end slow' not in trainer.journal()
    before = read_run(trainer.folder / 'slow').iteration
    time.sleep(0.2)
    assert read_run(trainer.folder / 'slow').iteration == before


def test_a_failing_job_lets_those_go_on_that_do_not_need_it(trainer, capsys):
    bad, good = trainer('bad', fails='fails'), trainer('good')
    needs = trainer('needs', after=[bad])
    last = trainer('last', after=[needs])
    failed = run_jobs([bad, good, needs, last], trainer.folder, side_by_side=1, poll=0.02, keep_going=True)
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
    run_jobs([slow], trainer.folder, poll=0.05)
    assert trainer.journal() == ['start 0 slow', f'start {stopped_at} slow', 'end slow']


def test_a_trainer_that_outlives_its_parent_keeps_the_folder(trainer, tmp_path):
    slow = trainer('slow', last=120, pause=0.05)
    process = subprocess.Popen(parent_of(slow, tmp_path), stderr=subprocess.DEVNULL)
    until(lambda: read_run(slow.work_dir).iteration >= 2)
    process.kill()
    process.wait()
    with pytest.raises(ConfigError, match='in use by what process .*parent.py.* has left behind'):
        run_jobs([slow], trainer.folder, poll=0.05)
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
        'from rethink.studies.jobs import Job, run_jobs\n'
        f'job = Job({job.name!r}, {job.command!r}, Path({str(job.work_dir)!r}), {job.iterations})\n'
        f'run_jobs([job], job.work_dir.parent, poll=0.05)\n'
    )
    return [sys.executable, str(script)]


def until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def test_the_cores_are_shared_where_nobody_says_how_many_threads(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    show = tmp_path / 'show.py'
    show.write_text(
        'import json, os, sys\n'
        'from pathlib import Path\n'
        "log = Path(sys.argv[1]) / 'now' / 'vis_data'\n"
        'log.mkdir(parents=True)\n'
        "(log / 'scalars.json').write_text(json.dumps(dict(step=1, threads=os.environ['OMP_NUM_THREADS'])))\n"
    )
    cores = len(os.sched_getaffinity(0))

    def threads(name, side_by_side=1, processes=1) -> str:
        work_dir = tmp_path / name
        job = Job('show', [sys.executable, str(show), str(work_dir)], work_dir, 1, processes=processes)
        run_jobs([job], tmp_path, side_by_side, poll=0.02)
        return read_run(work_dir).val[1]['threads']

    for side_by_side, processes in ((1, 1), (2, 1), (1, 2), (2, 2)):
        share = max(1, cores // side_by_side // processes)
        assert threads(f'{side_by_side}_{processes}', side_by_side, processes) == str(share)
    monkeypatch.setenv('OMP_NUM_THREADS', str(cores + 1))
    assert threads('as set', 2, 2) == str(cores + 1)
    monkeypatch.setenv('OMP_NUM_THREADS', '')
    assert threads('set to nothing') == str(cores)


def test_a_resumed_log_is_read_as_one(tmp_path):
    for name, lines in {
        '20260101_000000': [dict(loss=3.0, step=1), dict(loss=2.0, step=2), {'coco/bbox_mAP': 0.1, 'step': 2}],
        '20260101_000100': [dict(loss=1.5, step=2), dict(loss=1.0, step=3), {'coco/bbox_mAP': 0.3, 'step': 3}],
    }.items():
        log = tmp_path / name / 'vis_data'
        log.mkdir(parents=True)
        (log / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"loss": 0.9, "st')
        (log / 'config.py').write_text('train_cfg = dict(max_iters=3)')
    run = read_run(tmp_path)
    assert {at: entry['loss'] for at, entry in run.train.items()} == {1: 3.0, 2: 1.5, 3: 1.0}
    assert run.curve('coco/bbox_mAP') == [(2, 0.1), (3, 0.3)]
    assert run.finished and run.iteration == run.max_iters == 3


def test_a_folder_without_a_log_is_a_run_that_has_not_begun(tmp_path):
    run = read_run(tmp_path / 'nothing')
    assert (run.iteration, run.max_iters, run.finished, run.curve('coco/bbox_mAP')) == (0, None, False, [])
