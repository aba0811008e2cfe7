"""Jobs on a Slurm cluster: one of two nodes, which slurm_cluster.py starts on this host where the packages are."""

import json
import multiprocessing
import os
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import slurm_cluster
import torch
from conftest import ROOT, run_tool, write_detector
from rethink.analysis.logs import read_run
from rethink.errors import ConfigError
from rethink.files import exclusively
from rethink.studies.backends.local import Local
from rethink.studies.backends.slurm import Slurm, read_options, states
from rethink.studies.jobs import Job
from test_jobs import TRAINER, until

OPTIONS = ['partition=gpu', 'gpus=1', 'cpus_per_task=1', 'time=10']

# --- without a cluster -----------------------------------------------------------------------------------------------


def test_options_are_those_of_sbatch():
    assert read_options(
        ['partition=gpu', 'gpus=8', 'nodes=2', 'time=24:00:00', 'mem-per-cpu=4G', 'exclusive']
    ) == dict(partition='gpu', gpus_per_node='8', nodes=2, time=1440, mem_per_cpu='4G', exclusive=True)
    times = {'90': 90, '1:30': 2, '2:00:01': 121, '2-12': 3600, '1-0:30': 1470, '1-01:01:00': 1501}
    assert {text: read_options([f'time={text}'])['time'] for text in times} == times
    assert read_options(['gpus=v100:4', 'time=1'])['gpus_per_node'] == 'v100:4'


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['24:00:00'], '24:00:00 is not KEY=VALUE'),
        (['time=1', 'partition='], 'partition= is not KEY=VALUE'),
        (['partition=gpu'], 'says no time'),
        (['time=tomorrow'], 'time=tomorrow is no time'),
        (['time=0'], 'time=0 is no time'),
        (['time=1', 'nodes=two'], 'nodes=two is to be a number'),
        (['time=1', 'gpus=0'], 'gpus=0 is to be a number of GPUs'),
        (['time=1', 'gpus=2', 'gpus-per-node=2'], 'gpus_per_node twice'),
        (['time=1', 'output=x'], 'output=x is set for each job'),
    ],
)
def test_a_wrong_option_is_one_sentence(words, sentence):
    with pytest.raises(ConfigError, match=f'--slurm.*{re.escape(sentence)}') as caught:
        read_options(words)
    assert '\n' not in str(caught.value)


def test_without_slurm_that_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(ConfigError, match='there is no sbatch here'):
        Slurm(OPTIONS).run([Job('a', ['true'], tmp_path / 'a', 1)], tmp_path)


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Writes commands of Slurm that do what a test says."""

    def write(**scripts: str):
        for name in ('sbatch', 'srun', 'squeue', 'scontrol', 'scancel'):
            path = tmp_path / 'bin' / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\n{scripts.get(name, "")}\n')
            path.chmod(0o755)
        monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')

    return write


def test_a_controller_that_does_not_answer_is_one_sentence(pretended, tmp_path):
    pretended(squeue='echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1')
    with pytest.raises(ConfigError, match=r'Slurm does not answer \(slurm_load_jobs error: Unable to contact'):
        Slurm(OPTIONS).run([Job('a', ['true'], tmp_path / 'a', 1)], tmp_path)


def test_more_jobs_than_a_user_may_submit_are_left_for_later(pretended, tmp_path):
    pretended(
        sbatch=f'if [ -e {tmp_path}/one ]; then echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; fi\n'
        f'touch {tmp_path}/one; echo Submitted batch job 7',
        scontrol='echo JobId=7 JobState=CANCELLED',
    )
    jobs = [Job(name, ['true'], tmp_path / name, 1) for name in 'ab']
    jobs.append(Job('c', ['true'], tmp_path / 'c', 1, after=[jobs[1]]))
    failed = Slurm(OPTIONS, poll=0.05).run(jobs, tmp_path)
    assert '(cancelled, job 7)' in failed[jobs[0]] and 'sbatch takes b not yet: QOSMax' in failed[jobs[1]]
    assert failed[jobs[2]] == 'c was not started: what it needs failed.'
    assert json.loads((tmp_path / 'slurm.json').read_text()) == {str(tmp_path / 'a'): '7'}


def test_a_controller_that_is_away_for_a_while_is_waited_for(pretended, tmp_path, capsys):
    calls = tmp_path / 'calls'
    job = Job('a', ['true'], tmp_path / 'a', 1)
    pretended(
        squeue=f'echo x >> {calls}; case $(wc -l < {calls}) in 1) ;; 2 | 3) echo "no answer" >&2; exit 1 ;;\n'
        f'4) echo "7|PENDING|Priority|{tmp_path}/a/submitit/.script.sh" ;; esac',
        sbatch='echo Submitted batch job 7',
        scontrol='echo JobId=7 JobState=PREEMPTED',
    )
    failed = Slurm(OPTIONS, poll=0.05).run([job], tmp_path)
    assert failed == {job: 'a was ended by Slurm (preempted, job 7); the same command submits it again.'}
    assert capsys.readouterr().err.count('Slurm does not answer (no answer)') == 1
    assert len(calls.read_text().splitlines()) == 5


def test_the_command_of_a_task():
    train = Job('a', ['python', 'tools/train.py', 'c.py', '--resume'], Path('w'), 1, parallel=True)
    assert launched(['gpus=4', 'nodes=2'], train) == [
        'python',
        'tools/train.py',
        'c.py',
        '--launcher',
        'slurm',
        '--resume',
    ]
    assert launched(['ntasks_per_node=2'], train)[3] == '--launcher'
    assert launched(['gpus=1'], train) == train.command
    train.parallel = False
    assert launched(['gpus=4', 'nodes=2'], train) == train.command


def launched(options: list[str], job: Job) -> list[str]:
    return Slurm(['time=1', *options]).command(job)


# --- on a cluster ----------------------------------------------------------------------------------------------------

on_a_cluster = pytest.mark.long


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    why_not = slurm_cluster.missing()
    if why_not:
        pytest.skip(f'no Slurm cluster can be started: {why_not}')
    with slurm_cluster.cluster(tmp_path_factory.mktemp('slurm')) as one:
        yield one


@pytest.fixture
def slurm(cluster, monkeypatch, tmp_path):
    """The cluster, to be reached by this test, and what jobs it has."""
    for name, value in (cluster.environment | dict(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='')).items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.call('scancel', '--me')
    cluster.wait_for(lambda: not cluster.call('squeue', '--me', '-h'))


@pytest.fixture
def stub(tmp_path):
    """Makes jobs that count to ``last`` as a training does, and go on where their log ends."""
    script = tmp_path / 'trainer.py'
    script.write_text(TRAINER)

    def job(name, last=3, pause=0.01, fails='', **more):
        work_dir = tmp_path / 'out' / name
        journal = str(tmp_path / f'{name}.txt')
        command = [sys.executable, str(script), str(work_dir), journal, str(last), str(pause), fails]
        return Job(name, command, work_dir, last, **more)

    job.folder = tmp_path / 'out'
    return job


def journal(job: Job) -> list[str]:
    path = Path(job.command[3])
    return [line.rpartition(' ')[0] for line in path.read_text().splitlines()] if path.exists() else []


def steps(job: Job) -> list[int]:
    """Every step that was ever trained, as often as it was."""
    logs = sorted(job.work_dir.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [entry['step'] for entry in entries if 'loss' in entry]


def trained_once(job: Job) -> bool:
    return sorted(steps(job)) == list(range(1, job.iterations + 1)) and journal(job)[-1] == 'end'


def at(job: Job, step: int) -> None:
    until(lambda: read_run(job.work_dir).iteration >= step)


def backend(*more: str) -> Slurm:
    kept = [option for option in OPTIONS if option.split('=')[0] not in {one.split('=')[0] for one in more}]
    return Slurm([*kept, *more], poll=0.5)


def in_background(jobs: list[Job], folder: Path, *options: str):
    """A run beside the test, in this process."""
    return ThreadPoolExecutor(1).submit(backend(*options).run, jobs, folder)


def follower(jobs: list[Job], folder: Path, said: Path) -> multiprocessing.Process:
    """A run in a process of its own, which writes into ``said``."""

    def run() -> None:
        # Tests in the background of a shell ignore it, and so would this process.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = open(said, 'a', buffering=1)  # noqa: SIM115  (until the process ends)
        backend().run(jobs, folder)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    return process


def id_of(job: Job) -> str:
    return json.loads((job.work_dir.parent / 'slurm.json').read_text())[str(job.work_dir)]


@on_a_cluster
def test_jobs_run_after_what_they_need_and_only_once(slurm, stub, capfd):
    first = stub('first')
    second, bad = stub('second', after=[first]), stub('bad', fails='fails')
    needs = stub('needs', after=[bad])
    jobs = [second, needs, first, bad]
    failed = backend().run(jobs, stub.folder)
    assert failed.keys() == {bad, needs}
    assert re.search(
        r'bad failed \(Slurm job \d+: FAILED\), .*ends with: the disk of this trainer is full', failed[bad]
    )
    assert failed[needs] == 'needs was not started: what it needs failed.' and failed[bad] in capfd.readouterr().err
    assert trained_once(first) and trained_once(second) and not journal(needs)
    begun = [min(job.work_dir.glob('*/vis_data/scalars.json')).stat().st_mtime for job in (first, second)]
    assert begun == sorted(begun)
    before = id_of(first)
    bad.command[-1] = ''
    assert backend().run(jobs, stub.folder) == {}
    assert all(job.finished for job in jobs) and id_of(first) == before and journal(first) == ['start 0', 'end']


@on_a_cluster
def test_a_cancelled_job_goes_on_when_it_is_run_again(slurm, stub):
    first = stub('first', last=40, pause=0.1)
    second = stub('second', after=[first])
    run = in_background([first, second], stub.folder)
    at(first, 5)
    assert states(stub.folder)[first.work_dir] == f'running, Slurm job {id_of(first)}'
    assert '(Dependency)' in states(stub.folder)[second.work_dir]
    slurm.call('scancel', id_of(first))
    failed = run.result(60)
    assert failed == {
        first: f'first was ended by Slurm (cancelled, job {id_of(first)}); the same command submits it again.',
        second: 'second was not started: what it needs failed.',
    }
    assert backend().run([first, second], stub.folder) == {}
    assert trained_once(first) and trained_once(second) and len(journal(first)) == 3


@on_a_cluster
def test_a_requeued_job_goes_on_by_itself(slurm, stub):
    job = stub('job', last=40, pause=0.1)
    run = in_background([job], stub.folder)
    at(job, 5)
    slurm.call('scontrol', 'requeue', id_of(job))
    assert run.result(90) == {}
    assert trained_once(job) and len(journal(job)) == 3
    assert re.findall(r'Slurm job (\d+) on rethink-node\d, started (\d)', job.output.read_text()) == [
        (id_of(job), '1'),
        (id_of(job), '2'),
    ]


@on_a_cluster
def test_at_the_time_limit_it_is_requeued(slurm, stub):
    job = stub('job', last=50, pause=1.0)
    assert backend('time=1', 'signal_delay_s=25').run([job], stub.folder) == {}
    assert trained_once(job)
    starts = re.findall(r'started (\d)', job.output.read_text())
    assert len(starts) > 1 and 'TIMEOUT' not in slurm.call('scontrol', 'show', 'job', id_of(job))


@on_a_cluster
def test_a_node_that_is_set_down_loses_nothing(slurm, stub):
    job = stub('job', last=60, pause=0.1)
    run = in_background([job], stub.folder)
    at(job, 5)
    node = slurm.call('squeue', '--me', '-h', '-o', '%N').strip()
    slurm.call('scontrol', 'update', f'nodename={node}', 'state=down', 'reason=test')
    at(job, 30)
    slurm.call('scontrol', 'update', f'nodename={node}', 'state=resume')
    assert run.result(90) == {}
    assert trained_once(job) and len(journal(job)) == 3


@on_a_cluster
def test_a_killed_follower_leaves_the_jobs_and_the_next_follows_them(slurm, stub, tmp_path):
    job, other = stub('job', last=150, pause=0.1), stub('other', last=30, pause=0.1)
    process = follower([job, other], stub.folder, tmp_path / 'first')
    at(job, 3)
    process.kill()
    process.join()
    before = id_of(job)
    # As if the kill had come between sbatch and the record.
    (stub.folder / 'slurm.json').unlink()
    said = tmp_path / 'second'
    process = follower([job, other], stub.folder, said)
    until(lambda: said.exists() and '0 jobs submitted to Slurm, ' in said.read_text())
    os.kill(process.pid, signal.SIGINT)
    process.join(30)
    assert f'they go on, the same command follows them, and `scancel {before}' in said.read_text()
    with ThreadPoolExecutor(2) as both:
        runs = [both.submit(backend().run, [job, other], stub.folder) for _ in range(2)]
    assert [run.result() for run in runs] == [{}, {}]
    assert trained_once(job) and journal(job) == ['start 0', 'end'] == journal(other)


@on_a_cluster
def test_what_sbatch_refuses_leaves_nothing_in_the_queue(slurm, stub):
    with pytest.raises(ConfigError, match="sbatch refuses first: unrecognized option '--bogus=1'"):
        backend('bogus=1').run([stub('first')], stub.folder)
    with pytest.raises(ConfigError, match='sbatch refuses first: invalid partition specified: nowhere'):
        backend('partition=nowhere').run([stub('first')], stub.folder)
    small, large = stub('small', last=100, pause=1), stub('large', parallel=True)
    with pytest.raises(ConfigError, match='sbatch refuses large: .*not available'):
        backend('gpus=5').run([small, large], stub.folder)
    slurm.wait_for(lambda: not slurm.call('squeue', '--me', '-h'))
    with exclusively(stub.folder):
        pass


@on_a_cluster
def test_two_nodes_train_what_two_processes_do_and_survive_the_loss_of_one(slurm, tmp_path, data):
    """To the bit, and no step is trained twice but those after the last checkpoint."""
    more = (
        "train_cfg = dict(type='ResumableTrainLoop', max_iters=30, val_interval=30)\n"
        "default_hooks['logger']['log_metric_by_epoch'] = False"
    )
    config = write_detector(tmp_path / 'tiny.py', data, more)

    def training(name: str) -> Job:
        work_dir = tmp_path / name / 'training'
        command = [
            sys.executable,
            str(ROOT / 'tools' / 'train.py'),
            str(config),
            '--work-dir',
            str(work_dir),
            '--resume',
        ]
        return Job(name, command, work_dir, 30, parallel=True)

    local, broken = training('local'), training('broken')
    assert Local(1, processes=2, poll=0.2).run([local], local.work_dir.parent) == {}
    run = in_background([broken], broken.work_dir.parent, 'nodes=2')
    at(broken, 5)
    slurm.kill_node(slurm_cluster.NODES[1])
    until(lambda: 'PENDING' in slurm.call('squeue', '--me', '-h', '-o', '%T'))
    slurm.start_node(slurm_cluster.NODES[1])
    assert run.result(120) == {}
    assert set(steps(broken)) == set(range(1, 31))
    again = [step for step in steps(broken) if steps(broken).count(step) > 1]
    assert len(again) <= 2 * 2, 'a checkpoint is every two iterations'
    expected, found = (
        torch.load(job.work_dir / 'iter_30.pth', weights_only=True)['state_dict'] for job in (local, broken)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(expected[name], value) for name, value in found.items())


@pytest.mark.long
def test_a_study_gives_the_same_on_the_cluster(slurm, tmp_path, data):
    """By its tool: a dependency, two arms; the same weights as on this machine, and a second run trains nothing."""
    for name, rate in (('start', 0.01), ('small', 0.001), ('large', 0.01)):
        write_detector(tmp_path / f'{name}.py', data, f'optim_wrapper["optimizer"]["lr"] = {rate}\n')
    (tmp_path / 'study.yml').write_text(
        'question: Is it the same?\nmetric: coco/bbox_mAP\nfactors: {rate: [small, large]}\n'
        "runs:\n  start: {}\n  '{rate}': {options: {load_from: '{checkpoint:start}'}}\n"
        'claims: {it is: large > small}\n'
    )
    options = ['--slurm', *OPTIONS]
    for out, more in (('here', ['--side-by-side', '2']), ('there', options)):
        done = run_tool('study.py', 'run', tmp_path, '--out-dir', tmp_path / out, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(path.relative_to(tmp_path / 'here') for path in (tmp_path / 'here').rglob('iter_8.pth'))
    assert len(names) == 3
    for name in names:
        one, other = (torch.load(tmp_path / out / name, weights_only=True)['state_dict'] for out in ('here', 'there'))
        assert all(torch.equal(one[key], value) for key, value in other.items())
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'there').rglob('*.pth')}
    again = run_tool('study.py', 'run', tmp_path, '--out-dir', tmp_path / 'there', *options)
    assert again.returncode == 0 and before == {path: path.stat().st_mtime_ns for path in before}
