"""AP of each class, and precision against recall, of the arms of a study, from the predictions that its runs leave.

Each file of predictions is evaluated once, by :mod:`rethink.analysis.class_ap`, and what came of it is kept in
``<out>/classes``.
"""

import contextlib
import functools
import hashlib
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analysis import class_ap
from ..analysis.published import LOGGED
from ..checks.datasets import Dataset, unwrapped
from ..errors import ConfigError
from ..files import write_atomically
from .claims import predictions
from .plan import Plan, Task
from .study import Asked
from .trainings import Training

# Of the curves, and their places among the thresholds of COCO's evaluation.
IOUS = {0.5: 0, 0.75: 5}
KEPT = 'classes'
# Counted up where what is kept, or how it is measured, changes.
_FORM = 1


@dataclass(frozen=True)
class Measured:
    """The predictions of a training.

    Args:
        names: of the C classes that the training has.
        objects: of each to be found in the validation images, (C,) int.
        ap: points of 100, (C,) float64; nan where there is no object.
        precision: at :data:`IOUS` and each recall, 0 to 1, (IoUs, C, recalls) float64; nan where there is no object.
    """

    names: tuple[str, ...]
    objects: np.ndarray
    ap: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class Arm:
    """A run, over the S seeds that have predictions of a finished training.

    Args:
        name: what sets it apart from the others beside it.
        ap: (S, C) float64, as in :class:`Measured`.
        precision: (S, IoUs, C, recalls) float64.
    """

    name: str
    run: str
    ap: np.ndarray
    precision: np.ndarray

    @property
    def overall(self) -> np.ndarray:
        """AP of each seed, the mean over classes, (S,)."""
        return np.array([_mean(of) for of in self.ap])

    def curves(self, iou: float, place: int | None = None) -> np.ndarray:
        """Precision of each seed at each recall, (S, recalls): of a class, or of None the mean over classes.

        The area below the latter is the AP at this IoU.
        """
        of = self.precision[:, list(IOUS).index(iou)]
        if place is not None:
            return of[:, place]
        there = ~np.isnan(of).all((0, 2))
        return of[:, there].mean(1)


@dataclass(frozen=True)
class Classes:
    """Arms that are compared on the same validation images.

    Args:
        title: what they have in common, such as ``'fpn, 6x'``; '' where it is the whole study.
        metric: ``'box AP'``, ``'mask AP'`` or ``'keypoint AP'``.
        names, objects: as in :class:`Measured`.
        missing: runs that are not among them, and why.
    """

    title: str
    metric: str
    names: tuple[str, ...]
    objects: np.ndarray
    arms: list[Arm]
    missing: str = ''


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if there.size else float('nan')


def gather(plan: Plan) -> list[Classes]:
    """The arms of each panel and place of the study's first figure; without one, all runs beside each other.

    Of finished trainings. Runs whose metric is not COCO's have no classes here, and LVIS' 1203 are those of ``gains``.
    """
    asked = plan.study.figures[0] if plan.study.figures else Asked(())
    groups: dict[tuple, dict[str, list[Measured]]] = {}
    lacking: dict[tuple[str, str], dict[str, str]] = {}
    for task in plan.tasks:
        if not isinstance(task.job, Training) or not _is_coco(task.run.metric):
            continue
        run = task.run
        x = ' '.join(run.factors[name] for name in asked.x if name in run.factors)
        title = ', '.join(filter(None, [run.factors.get(asked.panel, ''), x]))
        try:
            found = _of(plan, task)
        except (ConfigError, OSError) as error:
            lacking.setdefault((title, run.metric), {})[run.name] = str(error).rstrip('.')
            continue
        if found is None:
            lacking.setdefault((title, run.metric), {}).setdefault(run.name, 'no predictions of a finished training')
            continue
        key = title, run.metric, found.names, tuple(found.objects.tolist())
        groups.setdefault(key, {}).setdefault(run.name, []).append(found)
    tables = []
    for (title, metric, names, objects), runs in groups.items():
        arms = [
            Arm(
                plan.study.run(run).arm(*asked.x, asked.panel) if asked.x else run,
                run,
                np.stack([one.ap for one in of]),
                np.stack([one.precision for one in of]),
            )
            for run, of in runs.items()
        ]
        # A run of which another seed is there has its place in the table.
        gone = {run: why for run, why in lacking.get((title, metric), {}).items() if run not in runs}
        missing = '; '.join(f'{run}: {why}' for run, why in gone.items())
        tables.append(Classes(title, _called(metric), names, np.array(objects), arms, missing))
    return tables


def _is_coco(metric: str) -> bool:
    return metric.startswith('coco/') and _called(metric) is not None


def _called(metric: str) -> str | None:
    """``'box AP'`` of ``'coco/bbox_mAP'`` and of what else is logged beside it."""
    whole = metric.split('_mAP')[0] + '_mAP'
    return next((name for name, logged in LOGGED.items() if logged == whole), None)


def _of(plan: Plan, task: Task) -> Measured | None:
    """None where there are no predictions of the finished training.

    Raises:
        ConfigError: they cannot be read.
    """
    files = predictions(task, task.run.metric) if task.job.finished else None
    if files is None:
        return None
    kept = plan.out / KEPT / f'{"" if task.seed is None else f"seed{task.seed}_"}{task.run.name}.npz'
    wanted = _classes(task)
    key = _key(files, wanted)
    found = _kept(kept, key)
    if found is None:
        with contextlib.redirect_stdout(sys.stderr):
            found = measure(*files, wanted)
        arrays = dict(names=np.array(found.names), objects=found.objects, ap=found.ap, precision=found.precision)
        write_atomically(kept, lambda file: np.savez_compressed(file, key=np.array(key), **arrays))
    return found


def _classes(task: Task) -> list[str] | None:
    """That the training has, which may be fewer than the file's; None where the config does not say."""
    path, dataset, *_ = next(unwrapped(task.cfg.val_dataloader.dataset, ''))
    return Dataset(path, dataset, None).classes


def measure(annotations: str, results: str, kind: str, classes: list[str] | None = None) -> Measured:
    """Evaluate a results file.

    Args:
        kind: ``'bbox'``, ``'segm'`` or ``'keypoints'``.
        classes: those that count; None for all of the annotation file.

    Raises:
        ConfigError: a file is none, or is of another data set.
    """
    truth = _truth(annotations, kind == 'segm', Path(annotations).stat().st_mtime_ns)
    if truth.federated:
        raise ConfigError(f'{annotations} is of LVIS, whose classes are compared by gains.')
    table = class_ap.precisions(
        truth, class_ap.read_results(results, truth, kind, may_be_empty=True), kind, what=Path(results).parent.name
    )
    names = list(truth.names.values())
    places = [at for at, name in enumerate(names) if classes is None or name in classes] or list(range(len(names)))
    counts = truth.counts()[0]
    objects = np.array([counts[number] for number in truth.categories])[places]
    table = table[places]
    return Measured(
        tuple(names[at] for at in places),
        objects,
        100 * table.mean((1, 2)),
        np.stack([table[:, at] for at in IOUS.values()]),
    )


@functools.lru_cache(maxsize=1)
def _truth(path: str, masks: bool, changed: int) -> class_ap.Annotations:
    """Read once for all runs."""
    return class_ap.read_annotations(path, masks)


def _key(files: tuple[str, str, str], classes: list[str] | None) -> str:
    """Changes when a file, or what is made of it, does."""
    states = [(name, state.st_size, state.st_mtime_ns) for name in files[:2] for state in [Path(name).stat()]]
    return hashlib.sha256(repr((_FORM, states, files[2], classes)).encode()).hexdigest()


def _kept(file: Path, key: str) -> Measured | None:
    try:
        with np.load(file, allow_pickle=False) as content:
            if content['key'] != key:
                return None
            return Measured(tuple(content['names'].tolist()), content['objects'], content['ap'], content['precision'])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
