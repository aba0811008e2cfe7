"""Run several trainings one after another or side by side, with one progress bar, stoppable at any moment.

What a demo, a sweep or a chain of trainings needs beside tools/train.py: order, resumption, a log for each, and the
time left of all of them together. Which jobs there are is the caller's business.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..analysis.logs import read_run
from ..errors import JobError
from ..files import exclusively
from ..stopping import interruptible


@dataclass(eq=False)
class Job:
    """One training, in a work directory of its own.

    Args:
        name: short, for the progress bar.
        command: arguments of the process that trains, and that resumes when started again.
        work_dir: where it logs; what is printed goes to ``<work_dir>/output.txt``.
        iterations: of the whole training. The job is finished when the model of the last one has been evaluated.
        after: jobs that must be finished before.
        cost: time of one of its iterations, relative to the other jobs', for the time left.
        processes: that the command starts, among which the job's cores are shared.
    """

    name: str
    command: list[str]
    work_dir: Path
    iterations: int
    after: list['Job'] = field(default_factory=list)
    cost: float = 1.0
    processes: int = 1

    @property
    def finished(self) -> bool:
        return self.iterations in read_run(self.work_dir).val

    @property
    def result(self) -> str:
        """What it is finished with, for a sentence."""
        return f'an evaluation at iteration {self.iterations}'

    @property
    def done(self) -> float:
        """Iterations done, times their cost."""
        return self.cost * min(self.iterations, read_run(self.work_dir).iteration)


def run_jobs(
    jobs: list[Job], folder: Path, side_by_side: int | None = None, poll: float = 1.0, keep_going: bool = False
) -> dict[Job, str]:
    """Run every job that is not finished, in an order that respects ``after``.

    Args:
        jobs: listed in the order in which they are started, where there is a choice.
        folder: held for as long as any job runs, see :func:`rethink.files.exclusively`.
        side_by_side: jobs at a time, each with an equal share of the cores, or with ``OMP_NUM_THREADS`` threads a
            process where that is set. Default: two where there are two cores, because two small trainings of one
            thread each are faster than one after the other with two.
        poll: seconds between looks at the logs.
        keep_going: whether the others go on when a job fails.

    Returns:
        Jobs that failed, or that wait for one that did, each with a sentence; nothing without ``keep_going``.

    Raises:
        JobError: a job failed (the others are stopped).
        ConfigError: another process runs in ``folder``.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    side_by_side = side_by_side or min(2, cores)
    finished = [job for job in jobs if job.finished]
    waiting = [job for job in jobs if job not in finished]
    failed: dict[Job, str] = {}
    if not waiting:
        return failed
    running: dict[Job, subprocess.Popen] = {}
    total = sum(job.cost * job.iterations for job in jobs)
    with exclusively(folder) as lock, interruptible(), _bar(total, sum(job.done for job in jobs)) as bar:
        try:
            while waiting or running:
                ready = [job for job in waiting if all(other in finished for other in job.after)]
                for job in ready[: side_by_side - len(running)]:
                    waiting.remove(job)
                    running[job] = _start(job, cores // side_by_side, lock)
                time.sleep(poll)
                for job in [job for job, process in running.items() if process.poll() is not None]:
                    code = running.pop(job).returncode
                    if not code and job.finished:
                        finished.append(job)
                    elif keep_going:
                        failed[job] = _what_failed(job, code)
                        bar.write(failed[job], file=sys.stderr)
                    else:
                        raise JobError(_what_failed(job, code))
                for job in [job for job in waiting if any(other in failed for other in job.after)]:
                    waiting.remove(job)
                    failed[job] = f'{job.name} was not started: what it needs failed.'
                now = [f'{job.name} {job.done / job.cost:.0f}/{job.iterations}' for job in running]
                bar.set_postfix_str(', '.join(now), refresh=False)
                bar.update(sum(job.done for job in jobs) - bar.n)
        finally:
            _stop(running)
    return failed


def _bar(total, done):
    return tqdm(
        total=total,
        initial=done,
        desc='training',
        # In a file, a line every half minute is enough.
        mininterval=0.5 if sys.stderr.isatty() else 30,
        bar_format='{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left  {postfix}',
    )


def _start(job, cores, lock):
    threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, cores // job.processes))
    job.work_dir.mkdir(parents=True, exist_ok=True)
    with open(job.work_dir / 'output.txt', 'a') as output:
        # The child keeps the lock of the folder, so that one that outlives us is noticed; in a session of its own, so
        # that a Ctrl-C reaches it through _stop and not in the middle of a write.
        return subprocess.Popen(
            job.command,
            env={**os.environ, 'OMP_NUM_THREADS': threads},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
            start_new_session=True,
        )


def _stop(running):
    for process in running.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in running.values():
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _what_failed(job, code):
    output = job.work_dir / 'output.txt'
    lines = [line for line in output.read_text(errors='replace').splitlines() if line.strip()]
    if not code:
        return f'{job.name} ended without {job.result}; its output is in {output}.'
    return f'{job.name} failed, its output is in {output} and ends with: {lines[-1] if lines else "nothing"}'
