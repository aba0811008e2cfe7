"""Jobs: what is to run, after what, and how far each is; where they run is in :mod:`rethink.studies.backends`."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..analysis.logs import read_run


@dataclass(eq=False)
class Job:
    """One training, or one step between trainings, in a work directory of its own.

    Args:
        name: short, for the progress bar.
        command: arguments of the one process that does it, and that resumes when started again: the interpreter, a
            script of ``tools/`` and its arguments.
        work_dir: where it logs; what is printed goes to ``<work_dir>/output.txt``.
        iterations: of the whole training. The job is finished when the model of the last one has been evaluated.
        after: jobs that must be finished before.
        parallel: the script is ``train.py``, which a backend may start as several processes.
        environment: variables that the command needs.
    """

    name: str
    command: list[str]
    work_dir: Path
    iterations: int
    after: list['Job'] = field(default_factory=list)
    parallel: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.iterations in read_run(self.work_dir).val

    @property
    def result(self) -> str:
        """What it is finished with, for a sentence."""
        return f'an evaluation at iteration {self.iterations}'

    @property
    def done(self) -> float:
        """Iterations done."""
        return min(self.iterations, read_run(self.work_dir).iteration)

    @property
    def output(self) -> Path:
        """The file of what it prints."""
        return self.work_dir / 'output.txt'

    @property
    def needs_failed(self) -> str:
        """The sentence about a job whose ``after`` failed."""
        return f'{self.name} was not started: what it needs failed.'

    def shell_command(self, command: list[str], **environment: str) -> list[str]:
        """``command`` with the variables it needs, as it can be typed."""
        variables = [f'{name}={value}' for name, value in (self.environment | environment).items()]
        return ['env', *variables, *command] if variables else list(command)


def in_order(jobs: list[Job]) -> list[Job]:
    """The jobs and all that they need, each after what it needs, otherwise as listed."""
    ordered: dict[Job, None] = {}

    def add(job: Job) -> None:
        if job not in ordered:
            for other in job.after:
                add(other)
            ordered[job] = None

    for job in jobs:
        add(job)
    return list(ordered)


class Progress(tqdm):
    """One bar for all jobs, of their iterations; in a file, a line every half minute."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs, self.complete = jobs, {}
        self.pause = 0.5 if sys.stderr.isatty() else 30
        self.due = 0.0
        total = sum(job.iterations for job in jobs)
        form = '{desc} {percentage:3.0f}% |{bar:20}| {elapsed} gone, {remaining} left{postfix}'
        super().__init__(total=total, initial=self._done(), desc='training', bar_format=form)

    def _done(self) -> float:
        total = 0.0
        for job in self.jobs:
            done = self.complete.get(job) or job.done
            if done >= job.iterations:
                self.complete[job] = done
            total += done
        return total

    def show(self, running: list[Job], more: str = '') -> None:
        """What runs now, and how far it is."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + self.pause
        now = [f'{job.name} {job.done:.0f}/{job.iterations}' for job in running[:4]]
        now += [f'{len(running) - 4} others'] * (len(running) > 4)
        self.set_postfix_str(', '.join(now + [more] * bool(more)), refresh=False)
        self.n = self._done()
        # A training that goes on is back at its checkpoint, behind its log: the pace counts from there.
        self.initial = min(self.initial, self.n)
        self.refresh()

    def close(self) -> None:
        if not self.disable:
            self.n = self._done()
        super().close()

    def tell(self, sentence: str) -> None:
        self.write(sentence, file=sys.stderr)

    @staticmethod
    def status_printer(file):
        if file.isatty():
            return tqdm.status_printer(file)

        def line(status: str) -> None:
            if status:
                file.write(f'{status}\n')
                file.flush()

        return line
