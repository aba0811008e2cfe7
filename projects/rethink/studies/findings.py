"""What a report says, as plain values: the claims, the results beside what was published, and what explains them.

Everything is there for a study that has not begun as well: what is missing is said in place of it.
"""

import contextlib
import itertools
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from tqdm import tqdm

from ..analysis import class_gains
from ..checks.datasets import Dataset, unwrapped
from ..config_tree import type_name
from ..configs.diff import changes, diff
from ..configs.overrides import parse_options
from ..configs.provenance import ResolvedConfig
from ..configs.report import Rows, each
from ..costs.of_config import Cost, Setting, measure_once
from ..errors import ConfigError
from . import classes, gallery, results, status
from .claims import BOXES, CONTRADICTED, OPEN, SHOWN, Claim, judge_all, predictions
from .classes import Classes
from .expressions import parse
from .figures import Line, lines
from .plan import QUICK, Plan, Task
from .study import Asked
from .trainings import Training

OF_QUICK = (
    f'--quick: of each training one part in {QUICK} was trained, to see that all of it runs; lengths and steps in '
    'names and tables are those of the whole study, and the numbers answer nothing.'
)


@dataclass(frozen=True)
class Result:
    """A metric of a run.

    Args:
        values: seed -> after the last iteration, in points of 100; None where there is none.
        published: of its config.
        state: of its seeds that are not finished, in words.
    """

    run: str
    metric: str
    values: dict[int | None, float | None]
    published: float | None
    state: str

    @property
    def known(self) -> list[float]:
        return [value for value in self.values.values() if value is not None]

    @property
    def mean(self) -> float | None:
        return fmean(self.known) if self.known else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None of fewer than two."""
        return stdev(self.known) if len(self.known) > 1 else None


@dataclass(frozen=True)
class Curve:
    """A metric of a run with a seed, wherever it was measured.

    Args:
        points: (iteration, or epoch, and value in points of 100).
        panel, arm, x: as in the study's first figure: where it is drawn, in which colour, with which dashes.
    """

    run: str
    seed: int | None
    metric: str
    by_epoch: bool
    points: list[tuple[int, float]]
    panel: str = ''
    arm: str = ''
    x: str = ''


@dataclass(frozen=True)
class Pair:
    """Two runs that a claim compares, and in what their configs differ."""

    runs: tuple[str, str]
    differences: Rows


@dataclass(frozen=True)
class Costed:
    """A run with its AP; ``cost`` is of a training step, None where ``why`` not is said."""

    run: str
    ap: float | None
    cost: Cost | None = None
    why: str = ''


@dataclass(frozen=True)
class Gained:
    """Two runs, and their AP class by class; None where ``why`` not is said."""

    runs: tuple[str, str]
    gains: class_gains.Gains | None = None
    why: str = ''


@dataclass(frozen=True)
class Findings:
    """All that a report says.

    Args:
        finished: runs, each seed counted, of ``total``.
        curves: of runs that are evaluated while they train.
        classes: AP of each class, arm beside arm.
        versions: of the packages, with the number of trainings that were started with them.
        failed: (run and seed, what it said last).
        figures: results against a number: (factor, metric, panel -> line -> points).
        commands: (run and seed, command).
    """

    title: str
    question: str
    about: str
    study: str
    out: str
    metric: str
    seeds: tuple[int, ...]
    finished: int
    total: int
    claims: list[Claim]
    results: list[Result]
    curves: list[Curve]
    pairs: list[Pair]
    costs: list[Costed]
    classes: list[Classes]
    gains: list[Gained]
    gallery: gallery.Gallery | None
    failed: list[tuple[str, str]]
    versions: dict[str, int]
    commands: list[tuple[str, str]]
    figures: list[tuple[str, str, dict[str, dict[str, Line]]]]

    @property
    def answer(self) -> str:
        """In a sentence, and a second one of what is not finished."""
        whole, parts = len(self.claims), []
        for verdict in (SHOWN, CONTRADICTED, OPEN):
            found = [one.sentence for one in self.claims if one.verdict == verdict]
            if found:
                part = f'{len(found)} of {whole} claims' if not parts else f'{len(found)}'
                part += f' {"is" if len(found) == 1 else "are"} {verdict}'
                parts.append(part + f' ({"; ".join(found)})' * (verdict != SHOWN and len(found) < 3))
        text = f'{", ".join(parts)}.' if parts else 'Nothing is claimed.'
        if whole == 1:
            text = f'The claim is {self.claims[0].verdict}: {self.claims[0].sentence}.'
        return text + f' {self.finished} of {self.total} runs are finished.' * (self.finished < self.total)


def gather(plan: Plan) -> Findings:
    """Everything, of what there is so far. Costs are measured once, in ``<out>/costs``.

    Raises:
        ConfigError: a claim cannot be read, or the metafile is none.
    """
    numbers = results.published(plan)
    standings = [status.of(task) for task in plan.tasks]
    found = [_result(plan, run, metric, numbers, standings) for run, metric in _keys(plan)]
    begun = [one.task.versions for one in standings if one.task.versions]
    return Findings(
        title=plan.study.title,
        question=plan.study.question,
        about=' '.join(filter(None, [plan.study.about, plan.quick and OF_QUICK])),
        study=str(plan.study.path),
        out=str(plan.out),
        metric=plan.study.metric,
        seeds=plan.seeds,
        finished=sum(one.state == 'finished' for one in standings),
        total=len(standings),
        claims=judge_all(plan, numbers),
        results=found,
        curves=list(_curves(plan)),
        pairs=_pairs(plan),
        costs=_costs(plan, found),
        classes=classes.gather(plan),
        gains=[_gained(plan, pair) for pair in plan.study.gains],
        gallery=gallery.differing(plan),
        failed=[(_name(one.task), one.error.strip()) for one in standings if one.state == 'failed'],
        versions={version: begun.count(version) for version in dict.fromkeys(begun)},
        figures=[(one.x[0], one.metric or plan.study.metric, lines(plan, one)) for one in plan.study.figures],
        commands=[(_name(task), shlex.join(task.job.shell_command(task.job.command))) for task in plan.tasks],
    )


def _name(task: Task) -> str:
    return task.run.name if task.seed is None else f'{task.run.name}, seed {task.seed}'


# --- claims and results ----------------------------------------------------------------------------------------------


def _keys(plan: Plan) -> list[tuple[str, str]]:
    """(run, metric) of all results, in order: each run by its metric, and by those that claims name."""
    planned = dict.fromkeys(task.run.name for task in plan.tasks if _evaluated(task))
    claimed = [key for text in plan.study.claims.values() for key in parse(text, plan.study).terms]
    first = [(name, plan.study.run(name).metric) for name in planned]
    keys = dict.fromkeys([*first, *(key for key in claimed if key[0] in planned)])
    # A command is measured by what claims name alone.
    keys = [key for key in keys if key in claimed or plan.study.run(key[0]).config]
    return sorted(keys, key=lambda key: list(planned).index(key[0]))


def _evaluated(task: Task) -> bool:
    return task.job.makes.name == results.EVALUATED if task.cfg is None else not task.job.pretraining


def _result(plan: Plan, run: str, metric: str, numbers: dict, standings: list[status.Standing]) -> Result:
    found = [one for one in standings if one.task.run.name == run]
    values = {one.task.seed: results.final(one.task, metric) for one in found}
    states = [
        f'seed {one.task.seed} ' * (len(found) > 1) + one.state + f' at {one.done} of {one.length}' * (one.done > 0)
        for one in found
        if one.state != 'finished'
    ]
    return Result(run, metric, values, numbers.get((run, metric)), ', '.join(states))


def _curves(plan: Plan) -> Iterator[Curve]:
    asked = plan.study.figures[0] if plan.study.figures else Asked(())
    for task in plan.tasks:
        if isinstance(task.job, Training):
            run, points = task.run, results.curve(task, task.run.metric)
            if len(points) > 1:
                x = ' '.join(run.factors[name] for name in asked.x if name in run.factors)
                place = dict(panel=run.factors.get(asked.panel, ''), arm=run.arm(*asked.x, asked.panel), x=x)
                yield Curve(run.name, task.seed, run.metric, task.job.by_epoch, points, **place)


# --- what explains them ----------------------------------------------------------------------------------------------


def _pairs(plan: Plan) -> list[Pair]:
    """The trainings that stand on different sides of a claim."""
    found: dict[frozenset, tuple[str, str]] = {}
    for text in plan.study.claims.values():
        for (one, first), (other, second) in itertools.combinations(parse(text, plan.study).terms.items(), 2):
            if first * second < 0 and one[0] != other[0]:
                found.setdefault(frozenset((one[0], other[0])), (one[0], other[0]))
    configs: dict[str, ResolvedConfig] = {}
    for name in dict.fromkeys(itertools.chain(*found.values())):
        task = plan.task(name, plan.seeds[0])
        if task is not None and task.cfg is not None:
            options = parse_options(task.job.command[task.job.command.index('--cfg-options') + 1 :])
            configs[name] = ResolvedConfig(name, task.run.config, task.cfg.copy(), options)
    return [_pair(pair, configs) for pair in found.values() if set(pair) <= set(configs)]


def _pair(runs: tuple[str, str], configs: dict[str, ResolvedConfig]) -> Pair:
    both = [configs[run] for run in runs]
    # Where predictions go differs between all runs.
    differences = [one for one in diff(both) if one.label[-1] != 'outfile_prefix']
    return Pair(runs, each(changes(differences), both, width=160))


# The same numbers on every machine, and little memory.
SETTING = Setting(device='meta')


def _costs(plan: Plan, measured: list[Result]) -> list[Costed]:
    aps = {one.run: one.mean for one in measured if one.metric == plan.study.run(one.run).metric}
    found = []
    for name in tqdm(plan.study.costs, desc='costs', disable=not plan.study.costs):
        task = plan.task(name, plan.seeds[0])
        if task is None or task.cfg is None:
            continue
        ap = aps.get(name)
        if ap is None:
            found.append(Costed(name, None, why='not finished'))
            continue
        try:
            cost = measure_once(task.cfg, SETTING, plan.out / 'costs')
            found.append(Costed(name, ap, replace(cost, name=name)))
        except ConfigError as error:
            found.append(Costed(name, ap, why=str(error)))
    return found


def _gained(plan: Plan, runs: tuple[str, str]) -> Gained:
    """AP of each class, over all seeds that have predictions."""
    arms, truth, train, lvis = [], set(), set(), False
    for name in runs:
        tasks = [task for seed in plan.seeds if (task := plan.task(name, seed)) and task.job.finished]
        files = [file for task in tasks if (file := predictions(task, BOXES))]
        if not files:
            return Gained(runs, why=f'{plan.lacks(name, "predictions of a finished training")}.')
        arms.append([file for _, file, _ in files])
        truth |= {annotations for annotations, _, _ in files}
        inner = [Dataset(*one, None) for one in unwrapped(tasks[0].cfg.train_dataloader.dataset, '')]
        train |= {str(one.annotations) for one in inner}
        lvis |= 'LVIS' in type_name(inner[0].cfg.get('type'))
    if len(truth) > 1 or len(train) > 1:
        return Gained(runs, why='They are of several annotation files.')
    try:
        with contextlib.redirect_stdout(sys.stderr):
            gains = class_gains.read(train.pop(), truth.pop(), *arms, lvis=lvis)
    except ConfigError as error:
        return Gained(runs, why=str(error))
    return Gained(runs, replace(gains, arms=runs))
