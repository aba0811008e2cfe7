"""What was published, from the metafiles beside the configs, and what runs of the same configs measured."""

import json
from dataclasses import dataclass
from pathlib import Path

from ..trust.dumped import read_dumped
from ..trust.yaml_files import entry, read_yaml
from .logs import Run, read_run
from .markdown import markdown_table

# Metrics as metafiles name them, and as MMEngine's log does.
LOGGED = {
    'box AP': 'coco/bbox_mAP',
    'box AP50': 'coco/bbox_mAP_50',
    'box AP75': 'coco/bbox_mAP_75',
    'mask AP': 'coco/segm_mAP',
    'mask AP50': 'coco/segm_mAP_50',
    'mask AP75': 'coco/segm_mAP_75',
    'keypoint AP': 'coco/keypoints_mAP',
    'VOC mAP': 'pascal_voc/mAP',
}
# After the name of a metric that was measured with test-time augmentation.
TTA = ' (TTA)'


@dataclass
class Row:
    """One published number, and the run of its config.

    Args:
        config: name of the config, which is also that of its work directory.
        metric: as in the metafile, such as ``'box AP'`` or ``'box AP (TTA)'``.
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
        """After the last iteration, in points of 100; None before, or where it has not been tested with ``--tta``."""
        if not self.run.finished:
            return None
        augmented = self.metric.endswith(TTA)
        metrics = tested_with_tta(self.run) if augmented else self.run.val[self.run.max_iters]
        value = metrics.get(LOGGED.get(self.metric.removesuffix(TTA)))
        return None if value is None else 100 * value

    @property
    def status(self) -> str:
        """'missing', 'at 120000 of 540000' or 'finished'; before the switch of a cascade 'at 120000'."""
        if not self.run.iteration:
            return 'missing'
        whole = f' of {self.run.max_iters}' if self.run.max_iters else ''
        return 'finished' if self.run.finished else f'at {self.run.iteration}{whole}'


def tested_with_tta(run: Run) -> dict[str, float]:
    """What the latest ``tools/test.py --tta`` of the run's last checkpoint measured; empty where there was none."""
    for log in sorted(run.work_dir.glob('*/*.json'), reverse=True):
        config = read_dumped(log.parent / 'vis_data' / 'config.py')
        # launch.use_tta puts the detector into a wrapper that has the settings.
        if 'tta_cfg' in config.model and Path(config.load_from).name == f'iter_{run.max_iters}.pth':
            return json.loads(log.read_text())
    return {}


def read_published(metafile: str | Path, work_dirs: str | Path) -> list[Row]:
    """Every number that a metafile holds, with the run of its config in ``work_dirs/<name of the config>``.

    Raises:
        ConfigError: there is no such file, or it is not what OpenMMLab's metafiles are.
    """
    rows = []
    for number, model in enumerate(entry(read_yaml(metafile, 'metafile'), 'Models', list, str(metafile))):
        where = f'{metafile}, Models[{number}]'
        name = entry(model, 'Name', str, where)
        run = read_run(Path(work_dirs) / name)
        for result in entry(model, 'Results', list, where, []):
            metrics = entry(result, 'Metrics', dict, f'{where}, Results')
            source = str(entry(entry(model, 'Metadata', dict, where), 'Published', (str, int), f'{where}, Metadata'))
            for metric in metrics:
                value = entry(metrics, metric, (int, float), f'{where}, Metrics')
                rows.append(Row(name, str(metric), source, float(value), run))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: the published number, the measured one beside it, and the difference; missing runs say so."""
    cells = []
    for row in rows:
        measured = '' if row.measured is None else f'{row.measured:.1f}'
        difference = '' if row.measured is None else f'{row.measured - row.published:+.1f}'
        cells.append([row.config, row.metric, f'{row.published:.1f}', row.source, measured, difference, row.status])
    return markdown_table(('config', 'metric', 'published', 'in', 'measured', 'difference', 'run'), cells)
