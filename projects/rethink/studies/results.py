"""What the runs of a study have measured, as one tidy table: a row for each metric, each time it was measured."""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from ..analysis.logs import read_run
from ..analysis.published import LOGGED
from ..config_tree import config_content
from ..trust.yaml_files import entry, read_yaml
from .plan import Plan, Task
from .trainings import Training

# The table that hpt_evaluate.py ends with.
EVALUATED = 'results.csv'
COLUMNS = ('study', 'run', 'factors', 'seed', 'unit', 'at', 'metric', 'value', 'config', 'versions', 'seconds')


def points(metric: str) -> float:
    """By what a logged value is multiplied so that it is in points of 100: AP and AR are logged as fractions."""
    return 100.0 if 'AP' in metric or 'AR' in metric else 1.0


def curve(task: Task, metric: str) -> list[tuple[int, float]]:
    """(iteration or epoch, value in points of 100) wherever a metric was measured."""
    scale = points(metric)
    return [(at, scale * value) for at, value in read_run(task.job.work_dir).curve(metric)]


def measured(task: Task | None, metric: str) -> dict[str, float]:
    """What a run came to in the end, in points of 100: of a training one value, of an evaluation that of each rerun.

    Empty before, and where it was not measured. Evaluations are those of ``tools/hpt_evaluate.py``, whose metrics are
    its protocols.
    """
    if task is None:
        return {}
    if isinstance(task.job, Training):
        value = dict(curve(task, metric)).get(task.job.iterations)
        return {} if value is None else {'': value}
    if task.job.makes.name != EVALUATED or not task.job.finished:
        return {}
    with open(task.job.makes, newline='') as file:
        return {row['rerun']: float(row['value']) for row in csv.DictReader(file) if row['protocol'] == metric}


def final(task: Task | None, metric: str) -> float | None:
    """The mean of :func:`measured`; None where there is none."""
    found = measured(task, metric)
    return fmean(found.values()) if found else None


def published(plan: Plan) -> dict[tuple[str, str], float]:
    """(run, metric as the log names it) -> the published number of its config, in points of 100.

    From the metafile beside the configs; of several numbers the first.

    Raises:
        ConfigError: it is none.
    """
    metafile = plan.study.path.parent / 'metafile.yml'
    if not metafile.is_file():
        return {}
    numbers: dict[tuple[str, str], float] = {}
    for model in entry(read_yaml(metafile, 'metafile'), 'Models', list, str(metafile)):
        for result in entry(model, 'Results', list, str(metafile), []):
            for metric, value in entry(result, 'Metrics', dict, str(metafile)).items():
                numbers.setdefault((model.get('Name'), LOGGED.get(metric, metric)), float(value))
    return {
        (run.name, metric): value
        for run in plan.study.runs
        for (name, metric), value in numbers.items()
        if run.config and Path(run.config).stem == name
    }


def rows(plan: Plan) -> Iterator[list]:
    """The table, without its titles; ``seconds`` are those of the training steps until then."""
    for task in plan.tasks:
        factors = ' '.join(f'{name}={value}' for name, value in task.run.factors.items())
        if not isinstance(task.job, Training):
            for metric in ('linear', 'semi', 'semi-all'):
                for rerun, value in measured(task, metric).items():
                    start = [plan.study.name, task.run.name, factors, task.seed, 'rerun']
                    yield [*start, rerun, metric, f'{value:.10g}', '', '', '']
            continue
        run = read_run(task.job.work_dir)
        # The same wherever the study's folder is.
        content = json.dumps(config_content(task.cfg), sort_keys=True).replace(str(plan.out), '')
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        unit = 'epoch' if task.job.by_epoch else 'iteration'
        pace = task.seconds
        start = [plan.study.name, task.run.name, factors, task.seed, unit]
        for at, entries in sorted(run.val.items()):
            seconds = '' if pace is None or task.job.by_epoch else f'{pace * at:.0f}'
            for metric, value in entries.items():
                if metric not in ('step', 'time', 'data_time') and isinstance(value, int | float):
                    written = f'{points(metric) * value:.10g}'
                    yield [*start, at, metric, written, digest, task.versions, seconds]


def table(plan: Plan) -> str:
    """``results.csv``, of what there is so far."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(rows(plan))
    return text.getvalue()
