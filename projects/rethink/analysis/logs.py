"""Read what MMEngine's runner logged into a work directory."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmengine.config import Config

from ..trust.dumped import read_dumped, trained_with


@dataclass
class Run:
    """The log of one training, over all its interruptions.

    Args:
        work_dir: where it was written.
        train: iteration -> what was logged of training there (``'loss'``, ``'lr'``, seconds an iteration ``'time'``).
        val: iteration -> metrics measured there, named as MMEngine names them (``'coco/bbox_mAP'``).
    """

    work_dir: Path
    train: dict[int, dict] = field(default_factory=dict)
    val: dict[int, dict] = field(default_factory=dict)

    @cached_property
    def config(self) -> Config | None:
        """That it was last trained with, as MMEngine dumped it, read and not executed; None before the first start.

        What is tested in the same work directory changes nothing of it.
        """
        dumped = trained_with(self.work_dir)
        return read_dumped(dumped) if dumped else None

    @property
    def length(self) -> int | None:
        """Of the whole training, in iterations, or in epochs where it counts in them; None before its start."""
        train_cfg = self.config.train_cfg if self.config else {}
        return train_cfg.get('max_iters') or train_cfg.get('max_epochs')

    @property
    def by_epoch(self) -> bool:
        """Whether length, and the keys of ``val``, are in epochs."""
        return bool(self.config) and not self.config.train_cfg.get('max_iters')

    @property
    def epoch(self) -> int:
        """The last epoch that is over, as far as the log says."""
        return max([0, *self.val, *(entry.get('epoch', 1) - 1 for entry in self.train.values())])

    @property
    def max_iters(self) -> int | None:
        """Iterations of the whole training; None before its start, or where it counts in epochs."""
        return self.config.train_cfg.get('max_iters') if self.config else None

    @property
    def iteration(self) -> int:
        """The last iteration that the log knows of; 0 before the first."""
        return max([0, *self.train, *self.val])

    @property
    def finished(self) -> bool:
        """Whether the model of the last iteration has been evaluated."""
        return bool(self.val) and self.length in self.val

    def curve(self, metric: str) -> list[tuple[int, float]]:
        """(iteration, value) of ``metric`` wherever it was measured, in order.

        An evaluation that logged no metric at all found not one box, as MMDetection's by itself does, which is an AP
        of 0.
        """
        nothing = {metric: 0.0} if 'AP' in metric or 'AR' in metric else {}
        entries = [(at, entry if _metrics(entry) else nothing) for at, entry in sorted(self.val.items())]
        return [(at, entry[metric]) for at, entry in entries if metric in entry]

    @property
    def metrics(self) -> list[str]:
        """The names of all that was measured."""
        return sorted({name for entry in self.val.values() for name in _metrics(entry)})


def _metrics(entry: dict) -> list[str]:
    """The names of the metrics in an entry of the log, which has its place and its seconds too."""
    return [name for name in entry if name not in ('step', 'time', 'data_time', 'epoch', 'iter', 'memory')]


def read_run(work_dir: str | Path) -> Run:
    """Read a work directory, finished, running or not yet started.

    MMEngine opens a new log folder, named by date and time, whenever a training is started. From the iteration at
    which a later one begins it holds, and what the earlier ones have from there on is no part of the training: it was
    repeated after a checkpoint, or, where the later one begins at 0, it was another training. A training that changes
    its detector on the way (:mod:`rethink.engine.switch`) is read as one, with both of its parts.
    """
    run = Run(Path(work_dir))
    if (run.work_dir / 'before_switch').is_dir():
        _read_before_switch(run)
    _read_logs(run)
    return run


def _read_before_switch(run: Run) -> None:
    """Add the part before the switch, as far as the part after it goes on from there."""
    # Until the second part has begun, there is no config of it and every entry counts.
    switch = run.config.get('switch_from') if run.config else {}
    if switch is None or switch.get('checkpoint'):
        return
    before = Run(run.work_dir / 'before_switch')
    _read_logs(before)
    end = switch.get('iteration', before.iteration)
    run.train = {at: entry for at, entry in before.train.items() if at <= end}
    run.val = {at: entry for at, entry in before.val.items() if at <= end}


def _read_logs(run: Run) -> None:
    for log in sorted(run.work_dir.glob('*/vis_data/scalars.json')):
        begun = False
        for line in log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that a kill cut off, or that is being written
                continue
            # Training entries have a loss; what has none is an evaluation.
            kind = run.train if 'loss' in entry else run.val
            if kind is run.train and not begun:
                begun = True
                _forget_from(run, entry)
            kind[entry['step']] = entry


def _forget_from(run: Run, first: dict) -> None:
    """Take away what was logged of the place at which a start of the training begins, and of all after it."""
    # An evaluation after an epoch has the number of the epoch, unless the logger is told otherwise; the one amid which
    # a training begins is not over.
    logger = (run.config.get('default_hooks') or {}).get('logger') if run.config else None
    in_epochs = run.by_epoch and (logger or {}).get('log_metric_by_epoch', True)
    epoch = first['epoch'] if in_epochs and 'epoch' in first else first['step']
    for entries, end in ((run.train, first['step']), (run.val, epoch)):
        for at in [at for at in entries if at >= end]:
            del entries[at]
