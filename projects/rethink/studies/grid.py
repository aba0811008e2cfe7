"""A grid of trainings: one config, some of its values varied, every combination in a work directory of its own.

Rethinking ImageNet Pre-training, section 5.2, searches learning rate, its decay and the range of image scales again
for each size of training set. Here a point of the grid is a list of overrides for ``tools/train.py``; the folder of
the grid remembers them, so that a grid can be stopped, continued, made larger and tabulated at any time.
"""

import copy
import csv
import dataclasses
import io
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from mmengine.config import Config

from ..analysis.logs import Run, read_run
from ..analysis.markdown import markdown_table
from ..checks import stop_on_errors
from ..checks.weights import check_weights
from ..config_tree import config_content, first_difference
from ..configs.overrides import parse_options
from ..engine import scaling
from ..errors import ConfigError
from ..files import write_atomically, write_together
from .axes import Point
from .jobs import Job
from .trainings import training


class Grid:
    """The folder of a grid: ``grid.json`` with its config and points, and a work directory for each point.

    Args:
        folder: need not exist.
        cfg: the config that all points share, with the overrides that all of them share.
        scale_to: fit the schedule to the batch size of so many processes, as ``train.py --auto-scale`` does.

    Raises:
        ConfigError: the folder holds a grid over another config, or something else.
    """

    def __init__(self, folder: str | Path, cfg: Config, scale_to: int | None = None) -> None:
        self.folder, self.cfg, self.scale_to = Path(folder), cfg, scale_to
        self.points: list[Point] = []
        self._config = config_content(self.effective(Point({}, [])))
        record = self.folder / 'grid.json'
        if record.is_file():
            self._read(record)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(f'{folder} is not empty and holds no grid; name another folder with --out-dir.')

    def _read(self, record: Path) -> None:
        try:
            content = json.loads(record.read_text())
            self.points = [Point(**point) for point in content['points']]
            where = first_difference(content['config'], self._config)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f'{record} is not the record of a grid ({error!r}); name another --out-dir.') from error
        if where:
            raise ConfigError(
                f'{self.folder} holds a grid over another config than {self.cfg.filename} is with its overrides: they '
                f'differ in {where}; name another folder with --out-dir.'
            )

    def effective(self, point: Point) -> Config:
        """The config of a point, with the schedule that it is trained with.

        Raises:
            ConfigError: an override does not fit.
        """
        cfg = copy.deepcopy(self.cfg)
        try:
            cfg.merge_from_dict(parse_options(point.overrides))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f'{" ".join(point.overrides)} does not fit {cfg.filename}: {error}.') from error
        if self.scale_to:
            scaling.scale(cfg, self.scale_to)
        return cfg

    def _identity(self, point: Point) -> str:
        return json.dumps(config_content(self.effective(point)), sort_keys=True)

    def add(self, new: list[Point]) -> list[Point]:
        """Points that are to be in the grid, each once.

        A point that makes the same config as one that is there already, perhaps with fewer axes named, is that one.

        Returns:
            Those of the grid that are meant, in the order asked for.
        """
        known = {self._identity(point): point for point in self.points}
        names = {point.name for point in self.points}
        wanted = []
        for point in new:
            content = self._identity(point)
            if content not in known and point.name in names:
                raise ConfigError(f'two points of this grid would have the folder {point.name}; name simpler values.')
            known.setdefault(content, point)
            names.add(point.name)
            if known[content] not in wanted:
                wanted.append(known[content])
        self.points = list(known.values())
        return wanted

    def save(self) -> None:
        """Write the record; nothing else in the folder is touched."""
        content = dict(
            config=self._config,
            points=[dict(values=point.values, overrides=point.overrides) for point in self.points],
        )
        write_atomically(self.folder / 'grid.json', json.dumps(content, indent=1).encode())

    def run_of(self, point: Point) -> Run:
        return read_run(self.folder / point.name)

    def iterations(self, point: Point) -> int:
        """Of its training.

        Raises:
            ConfigError: the config counts in epochs, which jobs do not follow.
        """
        cfg = self.effective(point)
        length = (cfg.get('train_cfg') or {}).get('max_iters')
        if not isinstance(length, int):
            raise ConfigError(f'{cfg.filename} has no train_cfg.max_iters; a grid is of trainings by iterations.')
        return length

    def job(self, point: Point, train: list[str], options: list[str], **more) -> Job:
        """The training of a point, which resumes when it is started again.

        Args:
            train: the command that trains, with the config and arguments that all points share.
            options: overrides that all points share.
            more: arguments of the job.
        """
        self.iterations(point)  # in epochs, a grid cannot be tabulated
        found = training(
            point.name, self.effective(point), train, [*options, *point.overrides], self.folder / point.name
        )
        return dataclasses.replace(found, **more)

    def finished(self, point: Point) -> bool:
        """Whether it has been trained to its end."""
        return self.job(point, [], []).finished

    def check(self, wanted: list[Point]) -> None:
        """What can be known before the first training starts, of every point that is not finished.

        Raises:
            ConfigError: the first thing that is wrong.
        """
        built = []
        for point in wanted:
            cfg = self.effective(point)
            # Building a model takes seconds, and points hardly ever differ in it or in what it begins with.
            model = [cfg.get(key) for key in ('model', 'custom_hooks', 'load_from')]
            stop_on_errors(cfg)
            if model not in built:
                # A job may be submitted where there is no network.
                check_weights(cfg, remote=False)
            built.append(model)


# --- results ---------------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What a point has come to; AP or accuracy in points of 100, None before the first evaluation."""

    point: Point
    state: str
    best: float | None = None
    best_at: int | None = None
    last: float | None = None
    last_at: int | None = None


# Of MMPretrain; MMDetection's are fractions of 1.
_IN_POINTS = ('accuracy/', 'single-label/', 'multi-label/')


def _values(run: Run, metric: str) -> list[tuple[int, float]]:
    """(iteration, value) at every evaluation.

    Raises:
        ConfigError: others were logged and this metric was not.
    """
    found = []
    scale = 1 if metric.startswith(_IN_POINTS) else 100
    for at in sorted(run.val):
        measured = {key for key in run.val[at] if '/' in key}
        if measured and metric not in measured:
            raise ConfigError(f'{run.work_dir} has no {metric} at {at}; logged are {", ".join(sorted(measured))}.')
        # MMDetection logs no AP where not one box was detected, which is an AP of 0.
        found.append((at, scale * run.val[at].get(metric, 0.0)))
    return found


def rows(grid: Grid, metric: str) -> list[Row]:
    """A row for each point of the grid, the best first and those without a number last."""
    found = []
    for point in grid.points:
        run, length = grid.run_of(point), grid.iterations(point)
        state = f'at {run.iteration} of {length}' if run.iteration else 'missing'
        if grid.finished(point):
            state = 'finished'
        if (grid.folder / point.name / 'failed.txt').is_file():
            state = f'failed at {run.iteration} of {length}'
        row = Row(point, state)
        values = _values(run, metric)
        if values:
            row.last_at, row.last = values[-1]
            # The earliest of equal ones.
            row.best_at, row.best = max(values, key=lambda one: (one[1], -one[0]))
        found.append(row)
    return sorted(found, key=lambda row: (row.best is None, -(row.best or 0.0), -(row.last or 0.0)))


_RESULTS = ('best', 'at', 'last', 'last at', 'run')


def _cells(found: list[Row]) -> list[list[str]]:
    axes = list(dict.fromkeys(axis for row in found for axis in row.point.values))
    lines = [[*axes, *_RESULTS]]
    for row in found:
        numbers = ['' if row.best is None else f'{row.best:.1f}', row.best_at or '']
        numbers += ['' if row.last is None else f'{row.last:.1f}', row.last_at or '']
        lines.append([*(row.point.values.get(axis, '') for axis in axes), *map(str, numbers), row.state])
    return lines


def table(found: list[Row]) -> str:
    """Markdown, the best value in bold; the cell of an axis that a point does not name is empty."""
    titles, *lines = _cells(found)
    if found[0].best is not None:
        column = len(titles) - len(_RESULTS)
        lines[0][column] = f'**{lines[0][column]}**'
    return markdown_table(titles, lines)


def _write(grid: Grid, name: str, title: str, lines: list[list[str]], text: str) -> None:
    separated = io.StringIO()
    csv.writer(separated, lineterminator='\n').writerows(lines)
    write_together(
        {
            grid.folder / f'{name}.csv': separated.getvalue().encode(),
            grid.folder / f'{name}.md': f'{title}\n\n{text}\n'.encode(),
        }
    )


def write_table(grid: Grid, metric: str) -> str:
    """Write ``table.md`` and ``table.csv`` into the folder of the grid, whatever it has come to; the Markdown.

    Raises:
        ConfigError: there is no grid, or the metric is not among those logged.
    """
    if not grid.points:
        raise ConfigError(f'there is no grid in {grid.folder}.')
    found = rows(grid, metric)
    text = table(found)
    _write(grid, 'table', f'{metric} of {grid.cfg.filename}', _cells(found), text)
    return text


def medians(grid: Grid, metrics: list[str], axis: str) -> list[list[str]]:
    """For every combination of the other axes, the medians of the last values of its finished points.

    Args:
        metrics: as MMEngine logs them.
        axis: whose values are reruns of the same, such as ``randomness.seed``.

    Returns:
        Titles, then a line for each combination, in the order of the points: the other axes, how many points are
        finished, and for each metric median and range, in points of 100; empty where none is finished.

    Raises:
        ConfigError: no point names the axis, or a metric is not among those logged.
    """
    reruns = [point for point in grid.points if axis in point.values]
    if not reruns:
        axes = ', '.join(dict.fromkeys(axis for point in grid.points for axis in point.values)) or 'none'
        raise ConfigError(
            f'no point in {grid.folder} has the axis {axis}, over which the median is asked for; its axes are {axes}.'
        )
    others = list(dict.fromkeys(name for point in reruns for name in point.values if name != axis))
    groups: dict[tuple, list[Point]] = {}
    for point in reruns:
        groups.setdefault(tuple(point.values.get(name, '') for name in others), []).append(point)
    lines = [[*others, 'finished', *(title for metric in metrics for title in (metric, 'range'))]]
    for values, members in groups.items():
        runs = [(grid.run_of(point), grid.iterations(point)) for point in members]
        finished = [run for run, length in runs if length in run.val]
        line = [*values, f'{len(finished)} of {len(members)}']
        for metric in metrics:
            last = [_values(run, metric)[-1][1] for run in finished]
            line += [f'{median(last):.1f}', f'{min(last):.1f} to {max(last):.1f}'] if last else ['', '']
        lines.append(line)
    return lines


def write_medians(grid: Grid, metrics: list[str], axis: str) -> str:
    """Write :func:`medians` into ``medians.md`` and ``medians.csv`` in the folder of the grid; the Markdown."""
    lines = medians(grid, metrics, axis)
    text = markdown_table(lines[0], lines[1:])
    _write(grid, 'medians', f'Medians over {axis} of {grid.cfg.filename}', lines, text)
    return text
