"""Jobs on this machine, one after another or side by side, stoppable at any moment."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from ...errors import ConfigError
from ...files import exclusively
from ...stopping import interruptible
from ..jobs import Job, Progress, in_order


class Local:
    """This machine.

    Args:
        side_by_side: jobs at a time, each with an equal share of the cores, or with ``OMP_NUM_THREADS`` threads a
            process where that is set. Default: one where there are ``gpus`` or several processes a job; otherwise two
            where there are two cores, because two small trainings of one thread each are faster than one after the
            other with two.
        processes: of each parallel job, started by ``dist_train.sh``.
        gpus: as ``CUDA_VISIBLE_DEVICES`` names them; each job gets its equal part of them, a parallel one a process
            for each. Default: what is visible, by all jobs.
        poll: seconds between looks at the logs.

    Raises:
        ConfigError: the GPUs cannot be shared so.
    """

    def __init__(
        self, side_by_side: int | None = None, processes: int = 1, gpus: Sequence[str] = (), poll: float = 1.0
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
        self.side_by_side = side_by_side or (1 if gpus or processes > 1 else min(2, cores))
        self.cores, self.processes, self.poll = max(1, cores // self.side_by_side), processes, poll
        self.slots: list[str | None] = [None] * self.side_by_side
        if gpus:
            each, rest = divmod(len(gpus), self.side_by_side)
            if rest or len(set(gpus)) < len(gpus):
                raise ConfigError(
                    f'the GPUs {",".join(gpus)} cannot be shared by {self.side_by_side} jobs at a time; name each '
                    f'once, and a multiple of {self.side_by_side} of them.'
                )
            self.slots = [','.join(gpus[start : start + each]) for start in range(0, len(gpus), each)]
            self.processes = each

    def command(self, job: Job) -> list[str]:
        """As it can be typed, on the GPUs that are visible."""
        if not job.parallel or self.processes == 1:
            return job.shell_command(job.command)
        python, script, config, *arguments = job.command
        launcher = ['bash', str(Path(script).with_name('dist_train.sh'))]
        return job.shell_command([*launcher, config, str(self.processes), *arguments], PYTHON=python)

    def run(self, jobs: list[Job], folder: Path) -> dict[Job, str]:
        """Run every job that is not finished, in an order that respects ``after``, and otherwise as they are listed.

        Args:
            folder: held for as long as any job runs, see :func:`rethink.files.exclusively`.

        Returns:
            Jobs that failed, or that wait for one that did, each with a sentence.

        Raises:
            ConfigError: another process runs in ``folder``.
        """
        jobs = in_order(jobs)
        finished = {job for job in jobs if job.finished}
        waiting = [job for job in jobs if job not in finished]
        failed: dict[Job, str] = {}
        if not waiting:
            return failed
        free = list(self.slots)
        running: dict[Job, tuple[subprocess.Popen, str | None]] = {}
        with exclusively(folder) as lock, interruptible(), Progress(jobs) as bar:
            try:
                while waiting or running:
                    ready = [job for job in waiting if finished.issuperset(job.after)]
                    for job in ready[: len(free)]:
                        waiting.remove(job)
                        gpus = free.pop(0)
                        running[job] = self._start(job, gpus, lock), gpus
                    time.sleep(self.poll)
                    for job in [job for job, (process, _) in running.items() if process.poll() is not None]:
                        process, gpus = running.pop(job)
                        free.append(gpus)
                        if not process.returncode and job.finished:
                            finished.add(job)
                        else:
                            failed[job] = _what_failed(job, process.returncode)
                            bar.tell(failed[job])
                    for job in [job for job in waiting if not failed.keys().isdisjoint(job.after)]:
                        waiting.remove(job)
                        failed[job] = job.needs_failed
                    bar.show(list(running))
            finally:
                _stop([process for process, _ in running.values()])
        return failed

    def _start(self, job: Job, gpus: str | None, lock: int) -> subprocess.Popen:
        processes = self.processes if job.parallel else 1
        threads = os.environ.get('OMP_NUM_THREADS') or str(max(1, self.cores // processes))
        job.work_dir.mkdir(parents=True, exist_ok=True)
        with open(job.output, 'a') as output:
            # The child keeps the lock of the folder, so that one that outlives us is noticed; in a session of its own,
            # so that a Ctrl-C reaches it through _stop and not in the middle of a write.
            return subprocess.Popen(
                self.command(job),
                env={
                    **os.environ,
                    'OMP_NUM_THREADS': threads,
                    **({} if gpus is None else {'CUDA_VISIBLE_DEVICES': gpus}),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[lock],
                start_new_session=True,
            )


def _stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _what_failed(job: Job, code: int) -> str:
    lines = [line for line in job.output.read_text(errors='replace').splitlines() if line.strip()]
    if not code:
        return f'{job.name} ended without {job.result}; its output is in {job.output}.'
    return f'{job.name} failed, its output is in {job.output} and ends with: {lines[-1] if lines else "nothing"}'
