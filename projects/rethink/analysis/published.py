"""What was published, from the metafiles beside the configs, and what runs of the same configs measured."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from .logs import Run, read_run

# Metrics as metafiles name them, and as MMEngine's log does.
LOGGED = {
    'box AP': 'coco/bbox_mAP',
    'mask AP': 'coco/segm_mAP',
    'keypoint AP': 'coco/keypoints_mAP',
}


@dataclass
class Row:
    """One published number, and the run of its config.

    Args:
        config: name of the config, which is also that of its work directory.
        metric: as in the metafile, such as ``'box AP'``.
        source: where it was published, such as ``'table 1'``.
        published: in points of 100.
        run: of the config; without a log where it has not begun.
    """

    config: str
    metric: str
    source: str
    published: float
    run: Run

    @property
    def measured(self) -> float | None:
        """After the last iteration, in points of 100; None before."""
        if not self.run.finished or LOGGED.get(self.metric) not in self.run.val[self.run.max_iters]:
            return None
        return 100 * self.run.val[self.run.max_iters][LOGGED[self.metric]]

    @property
    def status(self) -> str:
        """'missing', 'at 120000 of 540000' or 'finished'."""
        if not self.run.iteration:
            return 'missing'
        return 'finished' if self.run.finished else f'at {self.run.iteration} of {self.run.max_iters}'


def read_published(metafile: str | Path, work_dirs: str | Path) -> list[Row]:
    """Every number that a metafile holds, with the run of its config in ``work_dirs/<name of the config>``."""
    rows = []
    for model in yaml.safe_load(Path(metafile).read_text())['Models']:
        run = read_run(Path(work_dirs) / model['Name'])
        for result in model.get('Results', []):
            for metric, value in result['Metrics'].items():
                rows.append(Row(model['Name'], metric, str(model['Metadata']['Published']), float(value), run))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: the published number, the measured one beside it, and the difference; missing runs say so."""
    lines = ['| config | metric | published | in | measured | difference | run |', '|' + ' --- |' * 7]
    for row in rows:
        measured = '' if row.measured is None else f'{row.measured:.1f}'
        difference = '' if row.measured is None else f'{row.measured - row.published:+.1f}'
        cells = [row.config, row.metric, f'{row.published:.1f}', row.source, measured, difference, row.status]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)
