"""Trainings and commands as jobs: when each is finished, and how a training is started so that its log says so."""

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..analysis.logs import read_run
from ..config_tree import type_name
from ..engine.exported import BACKBONE, exported
from ..errors import ConfigError
from .jobs import Job


@dataclass(eq=False)
class Training(Job):
    """A training, in iterations or epochs; ``pretraining``: it ends with its backbone and is not evaluated."""

    by_epoch: bool = False
    pretraining: bool = False

    @property
    def finished(self) -> bool:
        if self.pretraining:
            return exported(self.work_dir / BACKBONE, self.iterations)
        return self.iterations in read_run(self.work_dir).val

    @property
    def result(self) -> str:
        if self.pretraining:
            return f'a whole {BACKBONE}'
        return f'an evaluation at {"epoch" if self.by_epoch else "iteration"} {self.iterations}'

    @property
    def done(self) -> float:
        run = read_run(self.work_dir)
        return min(self.iterations, run.epoch if self.by_epoch else run.iteration)


@dataclass(eq=False)
class Command(Job):
    """A command of ``tools/`` that is finished when it has made its file."""

    makes: Path = Path()

    @property
    def finished(self) -> bool:
        return self.makes.exists()

    @property
    def result(self) -> str:
        return str(self.makes)

    @property
    def done(self) -> float:
        return float(self.finished)


def training(
    name: str, cfg: Config, command: list[str], options: list[str], work_dir: Path, after: list[Job] | None = None
) -> Training:
    """The training of a config, which resumes when it is started again.

    Args:
        name: of the job.
        cfg: with all overrides.
        command: that trains it, with its path and the arguments that are no overrides.
        options: ``KEY=VALUE`` overrides.

    Raises:
        ConfigError: the config says no length.
    """
    loop = cfg.get('train_cfg') or {}
    by_epoch = not loop.get('max_iters')
    length = loop.get('max_epochs' if by_epoch else 'max_iters')
    if not isinstance(length, int):
        raise ConfigError(f'{cfg.filename} has no train_cfg.max_iters or max_epochs, so it is no training.')
    logger = (cfg.get('default_hooks') or {}).get('logger') or {}
    if logger.get('log_metric_by_epoch', True) != by_epoch:
        # MMEngine's default is by epoch, with which the log does not say at what iteration a metric was measured.
        options = [*options, f'default_hooks.logger.type={logger.get("type", "LoggerHook")}']
        options.append(f'default_hooks.logger.log_metric_by_epoch={by_epoch}')
    hooks = [type_name(hook.get('type')) for hook in cfg.get('custom_hooks') or []]
    command = [*command, '--work-dir', str(work_dir), '--resume']
    return Training(
        name,
        command + (['--cfg-options', *options] if options else []),
        work_dir,
        length,
        after or [],
        parallel=True,
        by_epoch=by_epoch,
        pretraining='ExportBackboneHook' in hooks and not cfg.get('val_dataloader'),
    )
