"""Jobs on a Slurm cluster, through submitit: each is one Slurm job, whether or not anybody follows it.

Requeueing is submitit's and Slurm's: submitit asks for a signal before the time limit (and, where the cluster sends
it, before a preemption) and requeues the job then, Slurm requeues it when a node goes down. The command of a job
resumes, so that it goes on from its last checkpoint. Which jobs are alive is asked of squeue; what is finished is on
the disk.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...errors import ConfigError, describe
from ...files import exclusively, write_atomically
from ...stopping import interruptible
from ..jobs import Job, Progress, in_order

# Said by the backend for each job, so not by a user for all of them.
_OWN = {
    'array', 'chdir', 'dependency', 'error', 'job_name', 'kill_on_invalid_dep', 'no_requeue', 'ntasks', 'open_mode',
    'output', 'requeue', 'signal', 'test_only', 'wait', 'wrap',
}  # fmt: skip
_NUMBERS = ('nodes', 'ntasks_per_node', 'cpus_per_task', 'signal_delay_s', 'max_num_timeout')
_TIMES = (
    r'(?P<minutes>\d+)(:(?P<seconds>\d+))?',
    r'(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)',
    r'(?P<days>\d+)-(?P<hours>\d+)(:(?P<minutes>\d+)(:(?P<seconds>\d+))?)?',
)
# Of one task: the first prints where a user looks, the others beside submitit's logs, because appending from several
# machines to one file of a file server loses lines. A port of its own for each Slurm job, below those that systems
# give away. The signal is for submitit.
_TASK = """
trap '' USR2
export MASTER_PORT=$((10000 + SLURM_JOB_ID % 20000))
[ "$SLURM_PROCID" = 0 ] && output=$1/output.txt || output=$1/submitit/output_$SLURM_PROCID.txt
shift
exec >> "$output" 2>&1
echo "Slurm job $SLURM_JOB_ID on $SLURMD_NODENAME, started $((${SLURM_RESTART_COUNT:-0} + 1)) time(s)"
exec "$@"
"""
# Seconds in which a file server shows what a job on another machine has written last.
_FILE_SERVER = 60


def read_options(words: list[str]) -> dict[str, int | str | bool]:
    """The options of ``--slurm``, ``KEY=VALUE`` or, for a flag, ``KEY``: those of sbatch, without dashes.

    Raises:
        ConfigError: one is malformed, missing, given twice or not the user's to say.
    """
    options: dict[str, int | str | bool] = {}
    for word in words:
        key, has_value, value = word.partition('=')
        key = {'gpus': 'gpus_per_node'}.get(key, key.replace('-', '_'))
        if not re.fullmatch('[a-z][a-z0-9_]*', key) or (has_value and not value):
            raise ConfigError(f'--slurm {word} is not KEY=VALUE, as in --slurm partition=gpu gpus=8 time=24:00:00.')
        if key in _OWN:
            raise ConfigError(f'--slurm {word} is set for each job by what runs the study; leave it away.')
        if key in options:
            raise ConfigError(f'--slurm says {key} twice; say it once.')
        options[key] = value if has_value else True
    for key in _NUMBERS:
        if key in options:
            if not re.fullmatch('[1-9][0-9]*', str(options[key])):
                raise ConfigError(f'--slurm {key}={options[key]} is to be a number from 1.')
            options[key] = int(options[key])
    if 'gpus_per_node' in options and not re.fullmatch(r'([\w.-]+:)?[1-9][0-9]*', str(options['gpus_per_node'])):
        raise ConfigError(f'--slurm gpus={options["gpus_per_node"]} is to be a number of GPUs from 1, or TYPE:NUMBER.')
    options['time'] = _minutes(options.get('time'))
    return options


def _minutes(text: int | str | bool | None) -> int:
    match = next((found for form in _TIMES if (found := re.fullmatch(form, str(text)))), None)
    if match is None or not any(int(part or 0) for part in match.groupdict().values()):
        said = '--slurm says no time' if text is None else f'--slurm time={text} is no time'
        raise ConfigError(f'{said}; give the limit of each job as sbatch takes it, as in time=24:00:00 or time=2-12.')
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    seconds = part.get('seconds', 0) + 60 * (part.get('minutes', 0) + 60 * part.get('hours', 0))
    return part.get('days', 0) * 24 * 60 + -(-seconds // 60)


class _Queued(NamedTuple):
    id: str
    state: str
    reason: str


class Slurm:
    """A Slurm cluster.

    Args:
        options: of ``--slurm``, see :func:`read_options`. ``gpus`` is the number on each node, and with ``nodes``
            gives the tasks of a parallel job; ``ntasks_per_node`` does where there are no GPUs. Any other job is one
            task with one GPU. ``cpus_per_task`` is 5 where nothing is said, as in ``slurm_train.sh``.
            ``signal_delay_s`` (90) and ``max_num_timeout`` (100) are submitit's.
        poll: seconds between looks at the queue and the logs.

    Raises:
        ConfigError: an option is wrong.
    """

    def __init__(self, options: list[str], poll: float = 30.0) -> None:
        self.options, self.poll = read_options(options), poll
        gpus = str(self.options.get('gpus_per_node', '')).rpartition(':')[2]
        self.options.setdefault('ntasks_per_node', int(gpus or 1))
        self.options.setdefault('nodes', 1)
        self.options.setdefault('cpus_per_task', 5)

    def command(self, job: Job) -> list[str]:
        """Of each task."""
        tasks = self.options['nodes'] * self.options['ntasks_per_node']
        launcher = ['--launcher', 'slurm'] if job.parallel and tasks > 1 else []
        script, arguments = job.command[:3], job.command[3:]
        return job.shell_command([*script, *launcher, *arguments])

    def run(self, jobs: list[Job], folder: Path) -> dict[Job, str]:
        """Submit every job that is neither finished nor in the queue, and follow them all to their end.

        Ids of what was submitted are kept in ``<folder>/slurm.json``. Ctrl-C ends the following, not the jobs.

        Args:
            folder: held while jobs are submitted, see :func:`rethink.files.exclusively`; another run in it waits for
                that and then follows the same jobs.

        Returns:
            Jobs that failed or were cancelled, or that need one that did, each with a sentence.

        Raises:
            ConfigError: there is no Slurm or no submitit here; Slurm does not answer; or it refuses a job, and then
                none that was submitted by this call is left.
        """
        missing = [name for name in ('sbatch', 'srun', 'squeue', 'scontrol', 'scancel') if not shutil.which(name)]
        if missing:
            raise ConfigError(f'there is no {missing[0]} here; run with --slurm on a machine of the cluster.')
        if find_spec('submitit') is None:
            raise ConfigError('--slurm needs submitit, which is not installed; pip install submitit.')
        jobs = in_order(jobs)
        ids: dict[Job, str] = {}
        failed: dict[Job, str] = {}
        if all(job.finished for job in jobs):
            return failed
        try:
            with interruptible():
                with exclusively(folder, wait=True):
                    self._submit_missing(jobs, folder, ids, failed)
                self._follow(jobs, ids, failed)
            return failed
        except KeyboardInterrupt:
            _say_what_is_left(ids)
            raise

    # --- submitting ---

    def _submit_missing(self, jobs: list[Job], folder: Path, ids: dict[Job, str], failed: dict[Job, str]) -> None:
        """Fill ``ids`` with the Slurm job of each job that is not finished."""
        queue = _queue_without_ending({_folder(job) for job in jobs})
        submitted: list[str] = []
        for job in jobs:
            if job.finished:
                continue
            if not failed.keys().isdisjoint(job.after):
                failed[job] = job.needs_failed
                continue
            needs = [ids[other] for other in job.after if other in ids]
            known = queue.get(_folder(job))
            if known and not set(needs).isdisjoint(submitted):
                # It waits for a Slurm job that is gone, in whose place there is another now.
                _cancel(known.id)
                known = None
            if known:
                ids[job] = known.id
                continue
            try:
                ids[job] = self._submit(job, needs)
            except ConfigError as error:
                if submitted and 'MaxSubmitJob' in str(error):
                    failed[job] = f'sbatch takes {job.name} not yet: {error}; the same command submits it later.'
                    continue
                _cancel(*submitted)
                raise ConfigError(
                    f'sbatch refuses {job.name}: {error}; nothing of it was left in the queue.'
                ) from error
            submitted.append(ids[job])
            record = _read_record(folder) | {str(job.work_dir.absolute()): ids[job]}
            write_atomically(folder / 'slurm.json', json.dumps(record, indent=1).encode())
        if ids:
            print(
                f'{len(submitted)} jobs submitted to Slurm, {len(ids) - len(submitted)} were in the queue; their ids '
                f'are in {folder / "slurm.json"}.',
                flush=True,
            )

    def _submit(self, job: Job, needs: list[str]) -> str:
        """The id of a new Slurm job.

        Raises:
            ConfigError: with what sbatch has against it.
        """
        # Here, so that a study is planned and looked at without it.
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError
        from submitit.helpers import FunctionSequence

        options = dict(self.options)
        if not job.parallel:
            kind = str(options.get('gpus_per_node', '')).rpartition(':')[0]
            options |= dict(nodes=1, ntasks_per_node=1)
            options |= {'gpus_per_node': f'{kind}:1' if kind else 1} if 'gpus_per_node' in options else {}
        executor = SlurmExecutor(_folder(job), max_num_timeout=options.pop('max_num_timeout', 100))
        mine = {key: options.pop(key) for key in (*_NUMBERS, 'time', 'gpus_per_node') if key in options}
        executor.update_parameters(
            **mine,
            job_name=job.name,
            dependency='afterok:' + ':'.join(needs) if needs else None,
            # srun takes the CPUs of a task from here alone; a task that fails ends the others.
            srun_args=[f'--cpus-per-task={mine["cpus_per_task"]}', '--kill-on-bad-exit=1'],
            additional_parameters=options | dict(requeue=True, kill_on_invalid_dep='yes'),
        )
        # submitit runs it again when the job was requeued.
        task = FunctionSequence()
        command = ['bash', '-c', _TASK, 'bash', str(job.work_dir.absolute()), *self.command(job)]
        task.add(subprocess.check_call, command)
        try:
            with _outside_of_a_job():
                return executor.submit(task).job_id
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            words = re.sub('sbatch: |error: ', '', str(error)).split()
            raise ConfigError(' '.join(words).rstrip('.')) from error

    # --- following ---

    def _follow(self, jobs: list[Job], ids: dict[Job, str], failed: dict[Job, str]) -> None:
        gone: dict[Job, float] = {}
        silent = False
        with Progress(jobs) as bar:
            for sentence in failed.values():
                bar.tell(sentence)
            while True:
                try:
                    queue = {one.id: one for one in _queue().values()}
                except ConfigError as error:
                    if not silent:
                        bar.tell(f'{str(error).rstrip(".")}; the jobs go on, and are followed when it does.')
                    silent = True
                    time.sleep(self.poll)
                    continue
                silent = False
                for job in [job for job in ids if ids[job] not in queue]:
                    since = gone.setdefault(job, time.monotonic())
                    needed = any(other in failed for other in job.after)
                    state = 'COMPLETED' if job.finished else _last_state(ids[job])
                    if state == 'COMPLETED' and not job.finished and time.monotonic() < since + _FILE_SERVER:
                        continue
                    if not job.finished:
                        failed[job] = job.needs_failed if needed else _what_failed(job, ids[job], state)
                        bar.tell(failed[job])
                    del ids[job]
                for one in [one for one in queue.values() if one.reason == 'DependencyNeverSatisfied']:
                    if one.id in ids.values():  # where the cluster does not cancel it
                        _cancel(one.id)
                running = [job for job in ids if ids[job] in queue and queue[ids[job]].state == 'RUNNING']
                reasons = {queue[one].reason for one in ids.values() if one in queue and queue[one].state == 'PENDING'}
                waiting = len(ids) - len(running)
                bar.show(running, f'{waiting} queued ({", ".join(sorted(reasons))})' if waiting else '')
                if not ids:
                    return
                time.sleep(self.poll)


def states(folder: Path) -> dict[Path, str]:
    """Absolute work directory -> what Slurm does with it, of what is in the queue and was submitted from ``folder``.

    Raises:
        ConfigError: Slurm does not answer.
    """
    record = _read_record(folder)
    queue = {one.id: one for one in _queue().values()} if record else {}
    return {
        Path(work_dir): f'{one.state.lower()}, Slurm job {id}' + (f' ({one.reason})' if one.state == 'PENDING' else '')
        for work_dir, id in record.items()
        if (one := queue.get(id))
    }


def _read_record(folder: Path) -> dict[str, str]:
    path = folder / 'slurm.json'
    return json.loads(path.read_text()) if path.is_file() else {}


def _folder(job: Job) -> str:
    """Of submitit, from which a Slurm job is known to be the job's."""
    return os.path.realpath(job.work_dir / 'submitit')


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """What a Slurm job that submits another has in its environment is not for that other."""
    if 'SLURM_JOB_ID' not in os.environ:
        yield
        return
    from submitit.helpers import clean_env, environment_variables

    where = {name: os.environ[name] for name in ('SLURM_CONF',) if name in os.environ}
    with clean_env(), environment_variables(**where):
        yield


def _call(*command: str) -> str:
    """What a command of Slurm prints.

    Raises:
        ConfigError: it fails, or says nothing for a minute.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except subprocess.TimeoutExpired:
        raise ConfigError(f'Slurm does not answer {command[0]} within a minute; try again when it does.') from None
    except (OSError, subprocess.CalledProcessError) as error:
        words = ' '.join((getattr(error, 'stderr', '') or describe(error)).split()).rstrip('.')
        raise ConfigError(f'Slurm does not answer ({words}); try again when it does.') from None


def _queue() -> dict[str, _Queued]:
    """Folder of submitit -> its job that Slurm has in the queue, running or not."""
    found = {}
    for line in _call('squeue', '--me', '--noheader', '--format=%i|%T|%r|%o').splitlines():
        id, state, reason, command = line.split('|', 3)
        found[str(Path(command).parent)] = _Queued(id, state, reason)
    return found


def _queue_without_ending(folders: set[str]) -> dict[str, _Queued]:
    """The queue when no job of these is on its way out of it, where it would be taken for one that runs."""
    said = False
    while True:
        queue = _queue()
        ending = [one.id for folder, one in queue.items() if folder in folders and one.state == 'COMPLETING']
        if not ending:
            return queue
        if not said:
            print(f'waiting for Slurm jobs that are ending ({", ".join(ending)}).', flush=True)
        said = True
        time.sleep(1)


def _cancel(*ids: str) -> None:
    # One that has ended meanwhile is an error to scancel.
    with contextlib.suppress(ConfigError):
        if ids:
            _call('scancel', *ids)


def _last_state(id: str) -> str:
    """Of a Slurm job that has left the queue; the controller knows it for some minutes."""
    try:
        match = re.search(r'\bJobState=(\w+)', _call('scontrol', 'show', 'job', '--oneliner', id))
    except ConfigError:
        match = None
    return match[1] if match else 'gone'


def _what_failed(job: Job, id: str, state: str) -> str:
    if state == 'COMPLETED':
        return f'{job.name} ended without {job.result}; its output is in {job.output}.'
    if state not in ('FAILED', 'OUT_OF_MEMORY', 'gone'):
        return f'{job.name} was ended by Slurm ({state.lower()}, job {id}); the same command submits it again.'
    outputs = [job.output, *sorted((job.work_dir / 'submitit').glob('output_*.txt'))]
    texts = [path.read_text(errors='replace').rpartition(f'Slurm job {id} ')[2] for path in outputs if path.is_file()]
    lines = [line for text in texts for line in text.splitlines()[1:] if line.strip()]
    # Of several processes, one met the error and the others were stopped.
    lines = [line for line in lines if line.startswith('error: ')] or lines
    return (
        f'{job.name} failed (Slurm job {id}: {state}), its output is in {job.output} and ends with: '
        f'{lines[-1] if lines else f"nothing, see {_folder(job)}"}'
    )


def _say_what_is_left(ids: dict[Job, str]) -> None:
    if not ids:
        return
    with contextlib.suppress(ConfigError):
        queue = {one.id: one.state for one in _queue().values()}
        left = [id for id in ids.values() if id in queue]
        running = sum(queue[id] == 'RUNNING' for id in left)
        print(
            f'{running} jobs are running and {len(left) - running} queued; they go on, the same command follows them, '
            f'and `scancel {" ".join(left)}` ends them.',
            file=sys.stderr,
            flush=True,
        )
