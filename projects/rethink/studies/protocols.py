"""Evaluations of a backbone by classification: which trainings a protocol is made of, and what they come to.

Linear separability and semi-supervised fine-tuning of HPT (Reed et al., WACV 2022): some configs, each with some
learning rates and some reruns. Validation chooses config, learning rate and iteration; the test is reported. A config
says ``protocol``, ``learning_rates`` and ``metric``. Configs of one protocol compete with each other, and so do
several backbones, which are recipes of one arm (HPT-BN). The trainings are :class:`rethink.studies.grid.Grid`.
"""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config

from ..analysis.markdown import markdown_table
from ..config_tree import find_types
from ..configs.overrides import parse_options
from ..datasets import splits
from ..engine import launch
from ..errors import ConfigError
from ..files import sha256, write_atomically, write_together
from .axes import Point, points
from .grid import Grid
from .jobs import Job

_SEED = 'randomness.seed'


# --- the trainings ---------------------------------------------------------------------------------------------------


def load(path: str, backbone: str, dataset: str | None, options: list[str]) -> Config:
    """A config of a protocol for a backbone and a data set, which it reads from the environment.

    Args:
        dataset: None for that of the config.
        options: ``KEY=VALUE`` overrides.

    Raises:
        ConfigError: the config cannot be read, or says nothing of a protocol.
    """
    os.environ['HPT_BASE'] = backbone
    if dataset:
        os.environ['HPT_DATASET'] = dataset
    cfg = launch.load_config(path, parse_options(options))
    absent = [name for name in ('protocol', 'learning_rates', 'metric') if name not in cfg]
    if absent:
        raise ConfigError(f'{path} does not say {", ".join(absent)}; name one like {CONFIGS[0]}.')
    cfg.setdefault('randomness', dict(seed=None))
    return cfg


CONFIGS = (
    'hpt/freeze_r50_bn_linear_5ki.py',
    'hpt/finetune_r50_bn_semi_2.5ki.py',
    'hpt/finetune_r50_bn_semi_90e.py',
)


def with_all_labels(cfg: Config) -> list[str]:
    """Overrides with which a config of the semi-supervised protocol trains on all labels; none for other protocols.

    A schedule in epochs, which says ``epochs``, ``drops`` and how many iterations an ``epoch`` has, gets the length
    that it has on so many images.

    Raises:
        ConfigError: the split cannot be read.
    """
    if cfg.protocol != 'semi':
        return []
    overrides = ['protocol=semi-all', f'train_dataloader.dataset.ann_file={cfg.train_set.ann_file}']
    if 'epochs' in cfg:
        labelled = splits.read(cfg.data_root, 'train', cfg.num_classes, cfg.multi_label)
        epoch = math.ceil(len(labelled) / cfg.auto_scale_lr.base_batch_size)
        drops = ','.join(str(drop * epoch) for drop in cfg.drops)
        overrides += [
            f'epoch={epoch}',
            f'train_cfg.max_iters={cfg.epochs * epoch}',
            f'train_cfg.val_interval={cfg.train_cfg.val_interval // cfg.epoch * epoch}',
            f'default_hooks.checkpoint.interval={cfg.default_hooks.checkpoint.interval // cfg.epoch * epoch}',
            f'param_scheduler.0.end={cfg.epochs * epoch}',
            f'param_scheduler.0.milestones=[{drops}]',
        ]
    return overrides


class Trainings:
    """Every learning rate and rerun of one config.

    Args:
        folder: of its grid.
        path: of the config.
        backbone: the file.
        options: overrides of all its trainings, among them those of :func:`with_all_labels`.
        label: of the backbone, where several compete.
        reruns: their number; seeds are 0, 1, ….
        processes: of each training, which share the images of a step.

    Raises:
        ConfigError: as :func:`load`; the images cannot be shared; or the folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        path: str,
        backbone: str,
        dataset: str | None,
        options: list[str],
        reruns: int,
        processes: int,
        label: str = '',
    ) -> None:
        self.path, self.processes, self.backbone, self.label = path, processes, backbone, label
        cfg = load(path, backbone, dataset, options)
        images = cfg.auto_scale_lr.base_batch_size
        if images % processes:
            raise ConfigError(f'{processes} processes cannot share the {images} images of a step; start a divisor.')
        self.options = list(options)
        if not any(option.startswith('train_dataloader.batch_size=') for option in options):
            self.options.append(f'train_dataloader.batch_size={images // processes}')
        # Features are the same for all trainings of the grid.
        hooks = find_types(cfg.custom_hooks, {'FrozenFeaturesHook'}, 'custom_hooks')
        self.options += [f'{hook}.folder={folder / "features"}' for hook in hooks]
        self.cfg = load(path, backbone, dataset, self.options)
        self.environment = dict(HPT_BASE=backbone) | (dict(HPT_DATASET=dataset) if dataset else {})
        self.grid = Grid(folder, self.cfg)
        axes = dict(lr=[f'{rate:g}' for rate in self.cfg.learning_rates])
        self.points = self.grid.add(points(self.cfg, axes | {_SEED: [str(seed) for seed in range(reruns)]}))

    def jobs(self, train: list[str]) -> list[Job]:
        """In the order of the grid; ``train`` is the command that trains the config."""
        jobs = []
        for point in self.points:
            job = self.grid.job(point, train, self.options, environment=self.environment)
            job.name = f'{self.label and self.label + "/"}{self.grid.folder.name}/{point.name}'
            jobs.append(job)
        return jobs

    def check(self) -> None:
        """What can be known before the first training starts.

        Raises:
            ConfigError: the first thing that is wrong.
        """
        self.grid.check(self.points[:1])


def labels_of(backbones: Sequence[str]) -> dict[str, str]:
    """A short name of each file, of its path below what the paths have in common; of a single one ''.

    Raises:
        ConfigError: a file is there twice.
    """
    if len(backbones) == 1:
        return {backbones[0]: ''}
    common = os.path.commonpath([os.path.dirname(path) for path in backbones])
    found = {path: os.path.splitext(os.path.relpath(path, common))[0].replace(os.sep, '_') for path in backbones}
    if len(set(found.values())) < len(backbones):
        raise ConfigError(f'{", ".join(backbones)} are not as many backbones as names; name each file once.')
    return found


def refuse_other_weights(folder: Path, backbone: str) -> None:
    """Remember of what file the results of a folder are.

    Raises:
        ConfigError: there is no such file, or the folder has results of one with other bytes.
    """
    if not Path(backbone).is_file():
        raise ConfigError(f'the backbone {backbone} does not exist; name a checkpoint.')
    digest = sha256(backbone)
    record = folder / 'backbone.sha256'
    if record.is_file() and record.read_text().split()[0] != digest:
        raise ConfigError(f'{folder} has results of another {backbone} than there is now; name another --out-dir.')
    write_atomically(record, f'{digest}  {backbone}\n'.encode())


# --- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rerun:
    """One training at the iteration that is best on validation images; metrics by name, in points of 100."""

    seed: str
    iteration: int
    val: float
    test: dict[str, float]


@dataclass(frozen=True)
class Arm:
    """The reruns of a config with a learning rate, as far as they are finished.

    ``config`` is its name, with that of the backbone behind it where several compete.
    """

    protocol: str
    config: str
    lr: str
    metric: str
    reruns: tuple[Rerun, ...]
    wanted: int

    @property
    def complete(self) -> bool:
        return len(self.reruns) == self.wanted

    @property
    def val(self) -> float:
        """Mean over the reruns, by which arms are compared; nan counts as the worst."""
        value = float(np.mean([one.val for one in self.reruns]))
        return -math.inf if math.isnan(value) else value


def _rerun(trainings: Trainings, point: Point) -> Rerun | None:
    """None for a training that is not finished."""
    run, metric = trainings.grid.run_of(point), trainings.cfg.metric
    if trainings.grid.iterations(point) not in run.val:
        return None
    values = {at: entry[f'val/{metric}'] for at, entry in run.val.items()}
    # The earliest of equal ones; nan, of a training that diverged, last.
    best = max(sorted(values), key=lambda at: -math.inf if math.isnan(values[at]) else values[at])
    test = {name.removeprefix('test/'): value for name, value in run.val[best].items() if name.startswith('test/')}
    return Rerun(point.values[_SEED], best, values[best], test)


def arms(trainings: Trainings) -> list[Arm]:
    """One for each learning rate of a config."""
    found = []
    for lr in dict.fromkeys(point.values['lr'] for point in trainings.points):
        own = [point for point in trainings.points if point.values['lr'] == lr]
        reruns = tuple(one for one in (_rerun(trainings, point) for point in own) if one)
        cfg = trainings.cfg
        name = Path(trainings.path).stem + (f' of {trainings.label}' if trainings.label else '')
        found.append(Arm(cfg.protocol, name, lr, cfg.metric, reruns, len(own)))
    return found


def chosen(all_arms: Sequence[Arm]) -> dict[str, Arm]:
    """Of each protocol whose trainings are all finished, the arm that is best on validation images."""
    found = {}
    for protocol in dict.fromkeys(arm.protocol for arm in all_arms):
        own = [arm for arm in all_arms if arm.protocol == protocol]
        if all(arm.complete for arm in own):
            found[protocol] = max(own, key=lambda arm: arm.val)
    return found


def _spread(values: list[float]) -> str:
    return f'{np.mean(values):.2f}' + (f' ± {np.std(values, ddof=1):.2f}' if len(values) > 1 else '')


_TITLES = ('protocol', 'config', 'lr', 'metric', 'val', 'test', 'median', 'at', 'runs')


def table(all_arms: Sequence[Arm]) -> list[list[str]]:
    """A row for each arm and metric: mean ± standard deviation (of a sample) over the reruns, and the median."""
    lines = [list(_TITLES)]
    for arm in all_arms:
        start = [arm.protocol, arm.config, arm.lr]
        done = f'{len(arm.reruns)} of {arm.wanted}'
        if not arm.reruns:
            lines.append([*start, arm.metric, '', '', '', '', done])
        for name in arm.reruns[0].test if arm.reruns else ():
            values = [one.test[name] for one in arm.reruns]
            val = _spread([one.val for one in arm.reruns]) if name == arm.metric else ''
            at = ', '.join(str(one.iteration) for one in arm.reruns)
            lines.append([*start, name, val, _spread(values), f'{np.median(values):.2f}', at, done])
    return lines


def markdown(all_arms: Sequence[Arm]) -> str:
    """The table, the test of the chosen arms in bold."""
    titles, *lines = table(all_arms)
    best = {(arm.protocol, arm.config, arm.lr) for arm in chosen(all_arms).values()}
    for line in lines:
        if tuple(line[:3]) in best:
            line[5] = f'**{line[5]}**'
    return markdown_table(titles, lines)


_COLUMNS = ('dataset', 'chain', 'steps', 'protocol', 'metric', 'rerun', 'value', 'val')


def results(all_arms: Sequence[Arm], dataset: str, chain: str, steps: str) -> list[list[str]]:
    """The reruns of the chosen arms, a row each, which :mod:`rethink.studies.results` reads."""
    lines = [list(_COLUMNS)]
    for protocol, arm in chosen(all_arms).items():
        for one in arm.reruns:
            value, val = f'{one.test[arm.metric]:.10g}', f'{one.val:.10g}'
            lines.append([dataset, chain, steps, protocol, arm.metric, one.seed, value, val])
    return lines


def write(folder: Path, all_arms: Sequence[Arm], dataset: str, chain: str, steps: str) -> str:
    """Write ``table.md``, ``table.csv`` and ``results.csv`` of what there is so far; the Markdown."""
    text = markdown(all_arms)
    files = {folder / 'table.md': f'{text}\n'.encode()}
    for name, lines in (('table', table(all_arms)), ('results', results(all_arms, dataset, chain, steps))):
        content = io.StringIO()
        csv.writer(content, lineterminator='\n').writerows(lines)
        files[folder / f'{name}.csv'] = content.getvalue().encode()
    write_together(files)
    return text
