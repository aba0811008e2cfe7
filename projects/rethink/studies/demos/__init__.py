"""The studies in miniature, each from generated data to a verdict; ``tools/demo.py`` starts them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ...errors import JobError
from ...reuse import config_path
from ..backends.local import Local
from ..jobs import Job


@dataclass
class Demo:
    """What is asked for.

    Args:
        out: folder of all runs and results.
        data: folder of the generated data.
        seed: of initialisation and sampling; the data stay the same.
        tools: folder of the scripts that are started.
        quick: a thirtieth of the iterations on few images, to try the machinery.
    """

    out: Path
    data: Path
    seed: int
    tools: Path
    quick: bool = False

    def script(self, name: str) -> list[str]:
        """The command of a script of tools/, without arguments."""
        return [sys.executable, str(self.tools / name)]

    def run(self, jobs: list[Job], folder: Path) -> None:
        """Run what is not finished.

        Raises:
            JobError: a job failed.
        """
        for sentence in Local().run(jobs, folder).values():
            raise JobError(sentence)

    def training(
        self,
        config: str,
        work_dir: Path,
        options: list[str] | tuple[str, ...] = (),
        length: int | None = None,
        kind: type[Job] = Job,
        **job,
    ) -> Job:
        """A training of ``configs/shapes/<config>.py``, called as its folder.

        Args:
            options: overrides of the config.
            length: iterations, where the config's cosine is to end with others than the config's.
            kind: of the job.
            job: its other arguments.
        """
        path = config_path(f'shapes/{config}.py')
        command = [*self.script('train.py'), path, '--work-dir', str(work_dir), '--resume']
        command += ['--cfg-options', f'randomness.seed={self.seed}', *options]
        iterations = length or Config.fromfile(path).train_cfg.max_iters
        if length:
            command += [f'train_cfg.max_iters={length}', f'param_scheduler.0.end={length}']
        if self.quick:
            iterations //= 30
            command += [f'train_cfg.{name}={iterations}' for name in ('max_iters', 'val_interval')]
            command += [f'default_hooks.checkpoint.interval={iterations}', 'default_hooks.logger.interval=1']
        return kind(work_dir.name, command, work_dir, iterations, **job)


def where_crops(root: Path) -> list[str]:
    """Overrides that point a classifier's config to generated crops."""
    return [f'{name}_dataloader.dataset.data_root={root}/' for name in ('train', 'val', 'test')]


def where_scenes(root: Path) -> list[str]:
    """Overrides that point a detector's config to generated scenes."""
    annotations = f'{root}/annotations/instances_val2017.json'
    return where_crops(root) + [f'{name}_evaluator.ann_file={annotations}' for name in ('val', 'test')]
