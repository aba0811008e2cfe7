"""Where each run of a study stands, read off its folder; also while it runs, and from another terminal."""

from dataclasses import dataclass
from datetime import timedelta

from ..analysis.logs import read_run
from ..errors import ConfigError
from ..files import in_use
from .backends import slurm
from .plan import Plan, Task
from .results import curve
from .trainings import Training

FAILED = 'failed.txt'


@dataclass(frozen=True)
class Standing:
    """Of a run: ``state`` is 'finished', 'running', 'queued', 'failed', 'stopped' or 'waiting'.

    Args:
        done: iterations or epochs of ``length``.
        last: the metric, when it was last measured.
        left: seconds, by the pace of its log; None where that is not known.
        error: what it said last, of one that failed.
    """

    task: Task
    state: str
    done: int
    length: int
    last: float | None = None
    left: float | None = None
    error: str = ''


def of(task: Task, on_slurm: str = '') -> Standing:
    """Of one run with a seed; ``on_slurm`` is what Slurm does with it."""
    job = task.job
    failed = job.work_dir / FAILED
    error = failed.read_text(errors='replace') if failed.is_file() else ''
    measured, seconds, begun = [], None, False
    if isinstance(job, Training):
        run = read_run(job.work_dir)
        measured, begun = curve(task, task.run.metric), bool(run.iteration)
        if task.seconds is not None and not job.by_epoch:
            seconds = task.seconds * (job.iterations - min(run.iteration, job.iterations))
    if job.finished:
        state, seconds, error = 'finished', None, ''
    elif in_use(job.work_dir) or on_slurm:
        state, error = 'queued' if on_slurm.startswith('pending') else 'running', on_slurm
    elif error:
        state = 'failed'
    else:
        state = 'stopped' if begun else 'waiting'
    done = job.iterations if state == 'finished' else int(job.done)
    return Standing(task, state, done, job.iterations, measured[-1][1] if measured else None, seconds, error)


def table(plan: Plan) -> str:
    """A line for each run, and one that counts; for a terminal."""
    try:
        queue, unknown = slurm.states(plan.out), ''
    except ConfigError as error:
        queue, unknown = {}, f'\nWhat is queued is not known: {error}'
    found = [of(task, queue.get(task.job.work_dir.absolute(), '')) for task in plan.tasks]
    width = max(len(one.task.run.name) for one in found)
    lines = []
    for one in found:
        seed = '' if one.task.seed is None else f'seed {one.task.seed}'
        unit = 'epochs' if isinstance(one.task.job, Training) and one.task.job.by_epoch else ''
        at = f'{one.done}/{one.length} {unit}'.strip() if isinstance(one.task.job, Training) else ''
        last = '' if one.last is None else f'{one.task.run.metric} {one.last:.1f}'
        left = '' if one.left is None else f'{timedelta(seconds=round(one.left))} left'
        cells = f'{one.task.run.name:{width}}  {seed:8}{one.state:10}{at:16}{last:24}{left}'
        lines.append(cells.rstrip() + (f'\n{"":{width}}  {one.error.strip()}' if one.error else ''))
    states = [one.state for one in found]
    counted = [f'{states.count(state)} {state}' for state in dict.fromkeys(states)]
    return '\n'.join([*lines, f'{len(found)} runs: {", ".join(counted)}.']) + unknown
