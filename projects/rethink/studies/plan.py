"""What a study runs: its trainings and commands as jobs, in order, with what they cost and where they stand."""

import contextlib
import copy
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from statistics import median

from mmengine.config import Config

from ..analysis.logs import read_run
from ..checks import stop_on_errors
from ..config_tree import config_content, first_difference, type_name
from ..configs.overrides import parse_options
from ..engine import launch, schedules
from ..engine.exported import BACKBONE
from ..errors import ConfigError, some_names
from ..evaluation.names import names_of
from ..files import write_atomically
from ..reuse import tool
from .axes import NAMED
from .expressions import parse
from .jobs import Job
from .study import LEFT, Run, Study
from .trainings import Command, Training, training

# Of a training that is only tried: the part of its length.
QUICK = 30
PREDICTIONS = 'predictions'
# Beside a training: what it is trained with.
RECORD = 'study.json'
_HOLE = re.compile(r'\{(out|seed|work_dir|folder)\}|\{(' + '|'.join(LEFT) + r'):([^{}]+)\}')


@dataclass(eq=False)
class Task:
    """A run with a seed.

    Args:
        cfg: of a training, with all overrides; None for a command.
    """

    run: Run
    seed: int | None
    job: Job
    cfg: Config | None

    @property
    def images(self) -> int | None:
        """That the training sees; None where the config does not say."""
        if not isinstance(self.job, Training) or self.job.by_epoch:
            return None
        batch = (self.cfg.get('train_dataloader') or {}).get('batch_size')
        if not isinstance(batch, int):
            return None
        # A config is for so many images a step, on however many processes.
        whole = (self.cfg.get('auto_scale_lr') or {}).get('base_batch_size') or batch
        return whole * self.job.iterations

    @property
    def seconds(self) -> float | None:
        """That an iteration has taken, by the log of this training; None before."""
        run = read_run(self.job.work_dir)
        times = [entry['time'] for entry in run.train.values() if 'time' in entry]
        return median(times) if times else None

    @property
    def begun(self) -> bool:
        """Whether its folder has something that was trained."""
        work_dir = self.job.work_dir
        return bool(read_run(work_dir).iteration) or any(work_dir.glob('*.pth'))

    @property
    def versions(self) -> str:
        """Of the packages with which it was started; '' before."""
        record = self.job.work_dir / RECORD
        return json.loads(record.read_text()).get('versions', '') if record.is_file() else ''

    @cached_property
    def operations(self) -> float | None:
        """Of a training image, where ``tools/analysis_tools/training_cost.py`` has measured the config."""
        if self.cfg is None or not self.cfg.get('model'):
            return None
        folder = Path('work_dirs/training_cost')
        if not any(folder.glob(f'{Path(self.cfg.filename).stem}-*.json')):
            return None
        from ..costs import of_config

        for device in ('cpu', 'meta'):
            file = of_config.cached(self.cfg, of_config.Setting(device=device), folder)
            if file.is_file():
                step = json.loads(file.read_text())['step']
                return sum(step['forward'].values()) + sum(step['backward'].values())
        return None


def versions() -> str:
    """Of the packages that training depends on, here and now."""
    import mmdet
    import mmengine
    import torch

    return f'torch {torch.__version__}, mmengine {mmengine.__version__}, mmdet {mmdet.__version__}'


class Plan:
    """The jobs of a study below a folder: ``<out>/seed<N>/<run>``, what is for all seeds in ``<out>/<run>``.

    Args:
        out: need not exist.
        tools: folder of the scripts.
        seeds: in place of the study's.
        only: patterns of names of runs, as a shell has them; what these need is done as well.
        lengths: values of the factor ``length``, in place of all.
        options: overrides of all trainings, ``KEY=VALUE``.
        quick: a thirtieth of each training, to try that everything runs.
        flags: more arguments for each training, of those that change nothing of what is trained (``--tensorboard``).

    Raises:
        ConfigError: a pattern or a length that is in no run, or a config that cannot be read or does not fit.
    """

    def __init__(
        self,
        study: Study,
        out: Path,
        tools: Path,
        seeds: Sequence[int] = (),
        only: Sequence[str] = (),
        lengths: Sequence[str] = (),
        options: Sequence[str] = (),
        quick: bool = False,
        flags: Sequence[str] = (),
    ) -> None:
        self.study, self.out, self.tools, self.quick, self.flags = study, out, tools, quick, tuple(flags)
        self.seeds, self.options = tuple(seeds) or study.seeds, tuple(options)
        self._narrowed = [name for name, given in (('--only', only), ('--lengths', lengths)) if given]
        parse_options(options)
        wanted = self._wanted(only, lengths)
        self._tasks: dict[tuple[str, int | None], Task] = {}
        self._read: dict[tuple, Config] = {}
        for seed in self.seeds:
            for run in wanted:
                self._task(run, seed, ())

    @property
    def tasks(self) -> list[Task]:
        """In an order in which each comes after what it needs."""
        return list(self._tasks.values())

    @property
    def jobs(self) -> list[Job]:
        return [task.job for task in self.tasks]

    def task(self, name: str, seed: int) -> Task | None:
        """That of a run with a seed; None where the plan leaves it out."""
        return self._tasks.get((name, seed)) or self._tasks.get((name, None))

    def lacks(self, name: str, what: str) -> str:
        """Why there is no ``what`` of a run, for a report: it has none, or it may have one and nobody asked for it."""
        if self.task(name, self.seeds[0]) is None:
            return f'{name} is left out here by {" and ".join(self._narrowed)}'
        return f'{name} has no {what}'

    def _wanted(self, only: Sequence[str], lengths: Sequence[str]) -> list[Run]:
        runs = self.study.runs
        names = [run.name for run in runs]
        for pattern in only:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(f'no run of {self.study.path} is named {pattern}; its runs are {some_names(names)}.')
        known = list(dict.fromkeys(run.factors['length'] for run in runs if 'length' in run.factors))
        for length in lengths:
            if length not in known:
                have = f'has the lengths {", ".join(known)}' if known else 'has no factor "length"'
                raise ConfigError(f'{self.study.path} {have}, and no {length}.')
        return [
            run
            for run in runs
            if (not only or any(fnmatchcase(run.name, pattern) for pattern in only))
            and (not lengths or run.factors.get('length', lengths[0]) in lengths)
        ]

    # --- a task ---

    def _task(self, run: Run, seed: int, above: tuple[str, ...]) -> Task:
        key = (run.name, None if run.once else seed)
        if key in self._tasks:
            return self._tasks[key]
        if run.name in above:
            raise ConfigError(f'{self.study.path}: {" begins with ".join([*above, run.name])}, which is a circle.')
        needs = {name: self._task(self.study.run(name), seed, (*above, run.name)) for name in run.needs}
        work_dir = (self.out if run.once else self.out / f'seed{seed}') / run.name
        after = [one.job for one in needs.values()]

        def put(text: str) -> str:
            def value(found: re.Match) -> str:
                if found[1]:
                    own = dict(out=self.out, seed=seed, work_dir=work_dir, folder=self.study.path.parent)
                    return str(own[found[1]])
                return str(self._left(needs[found[3]], found[2]))

            return _HOLE.sub(value, text)

        environment = {name: put(text) for name, text in run.environment.items()}
        if run.script:
            command = [sys.executable, str(self.tools / run.script), *map(put, run.arguments)]
            job = Command(run.name, command, work_dir, 1, after, makes=Path(put(run.makes)))
            task = Task(run, key[1], job, None)
        else:
            task = self._training(
                run, key[1], work_dir, after, {name: put(text) for name, text in run.options.items()}
            )
        task.job.environment = environment
        self._tasks[key] = task
        return task

    def _left(self, task: Task, what: str) -> Path:
        """What a run leaves to those after it."""
        job = task.job
        if what == 'work_dir':
            return job.work_dir
        if what == 'backbone':
            return job.work_dir / BACKBONE
        if not isinstance(job, Training):
            raise ConfigError(f'{self.study.path}: {task.run.name} is a command, and leaves no checkpoint.')
        return job.work_dir / f'{"epoch" if job.by_epoch else "iter"}_{job.iterations}.pth'

    def _training(self, run: Run, seed: int | None, work_dir: Path, after: list[Job], options: dict) -> Task:
        own = []
        for key, value in options.items():
            own += NAMED[key](self._config(run.config, []), value) if key in NAMED else [f'{key}={value}']
        own += [f'randomness.seed={seed or 0}', *self.options]
        cfg = self._config(run.config, own)
        more = [f'{where}.outfile_prefix={work_dir / PREDICTIONS}' for where in _coco_evaluators(cfg)]
        length = (cfg.get('train_cfg') or {}).get('max_iters')
        if self.quick and isinstance(length, int):
            length = max(1, length // QUICK)
            more += [f'train_cfg.{key}={length}' for key in ('max_iters', 'val_interval')]
            more += [f'default_hooks.checkpoint.interval={length}', 'default_hooks.logger.interval=1']
        launch.override(cfg, parse_options(more), run.config)
        own += more
        command = [sys.executable, str(self.tools / 'train.py'), run.config, *['--amp'] * self.study.amp, *self.flags]
        return Task(run, seed, training(run.name, cfg, command, own, work_dir, after), cfg)

    def _config(self, path: str, options: Iterable[str]) -> Config:
        key = path, tuple(sorted(os.environ.items()))
        if key not in self._read:
            self._read[key] = launch.load_config(path, import_custom_modules=False)
        cfg = copy.deepcopy(self._read[key])
        launch.override(cfg, parse_options(options), path)
        return cfg

    # --- before it runs ---

    def check(self) -> None:
        """What can be known before the first job starts.

        Raises:
            ConfigError: a folder has a training of another config, or something is wrong with one that could start
                now; what needs files that are still to be made is looked at by the training itself.
        """
        self._check_figures()
        checked = []
        for task in self.tasks:
            if task.cfg is None or task.job.finished:
                continue
            self._refuse_another(task)
            _check_metrics(task, self.study)
            if all(job.finished for job in task.job.after):
                content = config_content(task.cfg) | dict(randomness=None)
                if content not in checked:
                    launch.import_custom(task.cfg)
                    if not self.quick:
                        schedules.check_length(task.cfg)
                    stop_on_errors(task.cfg)
                    checked.append(content)

    def _check_figures(self) -> None:
        """A figure's own metric is one that some run measures, as far as all are planned and that is known."""
        if {task.run.name for task in self.tasks} != {run.name for run in self.study.runs}:
            return
        trained = [task for task in self.tasks if task.cfg is None or task.cfg.get('val_dataloader')]
        logged = [names_of(task.cfg) if task.cfg else None for task in trained]
        names = {name for of in logged if of for name in of}
        for figure in self.study.figures:
            if figure.metric and names and all(logged) and figure.metric not in names:
                raise ConfigError(
                    f'{self.study.path}: a figure is of {figure.metric}, and the validations log {some_names(names)}; '
                    'name one of these as metric.'
                )

    def _refuse_another(self, task: Task) -> None:
        record = task.job.work_dir / RECORD
        if not record.is_file() or not task.begun:
            return
        try:
            content = json.loads(record.read_text())
            before, amp = content['config'], '--amp' in content['command']
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f'{record} is not the record of a training ({error!r}); name another --out-dir.'
            ) from None
        where = first_difference(before, config_content(task.cfg)) or ('amp' if amp != self.study.amp else None)
        if where:
            raise ConfigError(
                f'{task.job.work_dir} holds a training of another config than {task.run.name} is now: they differ in '
                f'{where}; name another folder with --out-dir, or remove this one.'
            )

    def save(self) -> None:
        """Write beside each training what it is trained with, for :meth:`check` and for who finds the folder."""
        for task in self.tasks:
            record = task.job.work_dir / RECORD
            if task.cfg is None or (record.is_file() and task.begun):
                continue
            content = dict(study=self.study.name, command=task.job.command, versions=versions())
            content['config'] = config_content(task.cfg)
            write_atomically(record, json.dumps(content, indent=1).encode())


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """With these variables, which configs read."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _check_metrics(task: Task, study: Study) -> None:
    """The metrics by which a run is compared are ones that its validation logs, as far as that is known."""
    names = names_of(task.cfg)
    if not names or not task.cfg.get('val_dataloader'):
        return
    keys = [key for text in study.claims.values() for key in parse(text, study).terms]
    for metric in (task.run.metric, *(metric for run, metric in keys if run == task.run.name)):
        if metric not in names:
            raise ConfigError(
                f'{task.run.name} is compared by {metric}, and its validation logs {some_names(names)}; name one '
                'of these as metric.'
            )


def _coco_evaluators(cfg: Config) -> list[str]:
    """Dotted names of the evaluators of validation that can write their predictions and are not told where."""
    evaluators = cfg.get('val_evaluator') or []
    named = {'val_evaluator': evaluators}
    if isinstance(evaluators, list | tuple):
        named = {f'val_evaluator.{index}': one for index, one in enumerate(evaluators)}
    kinds = ('CocoMetric', 'LVISMetric', 'FasterLVISMetric', 'CocoKeypointMetric')
    return [
        where for where, one in named.items() if type_name(one.get('type')) in kinds and not one.get('outfile_prefix')
    ]


def _short(number: float | None, units: str = ' kMGTPEZ') -> str:
    """1234567 -> '1.2M'; '' for what is not known."""
    if number is None:
        return ''
    for unit in units:
        if number < 1000 or unit == units[-1]:
            break
        number /= 1000
    return f'{number:.3g}{unit}'.strip()


def listing(plan: Plan, command: Callable[[Job], list[str]]) -> str:
    """What will run, in which order, what it costs, and the commands, which a backend makes.

    Operations are of the forward and backward passes, where ``tools/analysis_tools/training_cost.py`` has measured the
    config; hours are by the pace of a log of the same config, where there is one.
    """
    paces: dict[str, float] = {}
    for task in plan.tasks:
        if task.cfg is not None and task.seconds is not None:
            paces.setdefault(task.run.config, task.seconds)
    lines, totals, unknown = [], dict(images=0.0, operations=0.0, hours=0.0), dict(operations=0, hours=0)
    for number, task in enumerate(plan.tasks, 1):
        job = task.job
        facts = [] if task.seed is None else [f'seed {task.seed}']
        if isinstance(job, Training):
            pace = paces.get(task.run.config)
            left = 0 if job.finished else job.iterations - job.done
            cost = dict(
                images=task.images,
                operations=task.images and task.operations and task.images * task.operations,
                hours=None if pace is None or job.by_epoch else pace * left / 3600,
            )
            facts.append(f'{job.iterations} {"epochs" if job.by_epoch else "iterations"}')
            facts += [f'{_short(cost[what])} {what}' for what in ('images', 'operations') if cost[what]]
            facts += [f'{cost["hours"]:.2g} hours to go'] if cost['hours'] else []
            for what in totals:
                totals[what] += cost[what] or 0
            for what in unknown:
                unknown[what] += cost[what] is None
        if job.after:
            facts.append(f'after {", ".join(other.name for other in job.after)}')
        state = ' (finished)' if job.finished else ''
        lines += [f'{number}. {task.run.name}{state}: {", ".join(facts) or "once"}', f'   {shlex.join(command(job))}']
    trainings = sum(task.cfg is not None for task in plan.tasks)
    left = sum(not job.finished for job in plan.jobs)
    lines.append(f'{len(plan.tasks)} runs, {left} to do; {_short(totals["images"])} images')
    for what, how in dict(
        operations=f'{tool("analysis_tools/training_cost.py")} measures a config',
        hours='known once a config has begun to train here',
    ).items():
        known = trainings - unknown[what]
        lines[-1] += f', {_short(totals[what]) or 0} {what}' if known else ''
        if unknown[what]:
            lines.append(f'{what} of {unknown[what]} of {trainings} trainings are not known: {how}.')
    return '\n'.join(lines)
