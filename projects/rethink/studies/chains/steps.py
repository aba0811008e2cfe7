"""A step of a chain: the training, the backbones that it leaves, and the job that runs it."""

from dataclasses import dataclass, field
from pathlib import Path

from ...engine.exported import BACKBONE, exported
from ..jobs import Job
from .names import data_of


@dataclass(eq=False)
class Step:
    """A training (or, for B, an estimation) and the backbones that it leaves.

    Args:
        chain: what it is the last step of.
        seed: of initialisation, order and augmentation.
        lengths: its iterations, the last, and others before where one training gives them all; (0,) for B.
        work_dir: its folder.
        base: the file with which it begins.
        after: the step that writes that file.
    """

    chain: str
    seed: int
    lengths: tuple[int, ...]
    work_dir: Path
    base: Path | None
    after: 'Step | None' = None

    @property
    def name(self) -> str:
        return f'{self.work_dir.parent.name}/{self.work_dir.name}'

    @property
    def data(self) -> str:
        """``'source'`` or ``'target'``."""
        return data_of(self.chain)

    @property
    def exports(self) -> dict[int, Path]:
        """Iterations → file."""
        *earlier, last = self.lengths
        found = {length: self.work_dir / f'backbone_{length}.pth' for length in earlier}
        return found | {last: self.work_dir / BACKBONE}

    @property
    def finished(self) -> bool:
        return all(exported(path, length) for length, path in self.exports.items())


@dataclass(eq=False)
class StepJob(Job):
    """Finished when all of the step's backbones are there."""

    step: Step = field(kw_only=True)

    @property
    def finished(self) -> bool:
        return self.step.finished

    @property
    def result(self) -> str:
        return f'a whole {", ".join(path.name for path in self.step.exports.values())}'

    @property
    def done(self) -> float:
        # Looked at each second, so that the files are not read.
        if all(path.is_file() for path in self.step.exports.values()):
            return self.iterations
        return super().done
