"""Results of study B from the folders that its tools leave: of which chain a backbone is, and what it came to.

``tools/hpt_evaluate.py`` writes a table of results into its folder, and beside it of what file they are. A detector
says in its config with what file it began. That file lies in a folder of ``tools/hpt_chain.py``, or is what a training
by ``tools/train.py`` or ``tools/grid_search.py`` exported.
"""

import json
from dataclasses import replace
from pathlib import Path

from ..analysis.logs import Run, read_run
from ..errors import ConfigError
from ..trust.checkpoints import read_checkpoint
from .axes import Point
from .hpt import DETECTION, FULL, WHOLE, Result, read_csv, steps_text

# Of a detector, by its evaluator: the mean over IoU 0.5, 0.55, … 0.95, from 0 to 1.
_BOX_AP = dict(CocoMetric='coco/bbox_mAP', VOCMetric='pascal_voc/mAP')


def _record(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path} cannot be read ({error}); complete or delete its folder.') from error


def _of_chains(folder: Path, backbone: Path) -> dict[str, str]:
    for row in _record(folder / 'chains.json')['steps']:
        if folder / row['export'] == backbone:
            return dict(chain=row['chain'], steps=str(row['iterations']))
    return {}


def _hooks(config) -> dict[str, dict]:
    return {str(hook.type).rsplit('.', 1)[-1]: hook for hook in config.get('custom_hooks') or []}


def _of_training(backbone: Path) -> dict[str, str]:
    """By the hooks of its config, which say with what it began and what of it was trained."""
    config = read_run(backbone.parent).config
    if config is None:
        return {}
    hooks = _hooks(config)
    chain = 'T'
    if 'InitFromBaseHook' in hooks:
        before = origin(hooks['InitFromBaseHook'].checkpoint).get('chain', 'T')
        # What began at random is, to what begins with it, the base.
        chain = f'{"B" if before == "T" else before}+T' + '-BN' * ('TrainBNOnlyHook' in hooks)
    try:
        steps = read_checkpoint(backbone)['meta']['iterations']
    except Exception as error:
        raise ConfigError(f'{backbone} is no backbone that a training exported ({error!r}).') from error
    return dict(chain=chain, steps=str(steps))


def origin(backbone: str | Path) -> dict[str, str]:
    """What is known of a backbone by the folder in which it lies.

    Returns:
        ``chain`` and ``steps``, and ``policy`` and ``share`` where it is a point of a grid over these; empty
        for a file from elsewhere, such as the base.

    Raises:
        ConfigError: a record in such a folder, or the file, cannot be read.
    """
    backbone = Path(backbone).absolute()
    for folder in backbone.parents:
        if (folder / 'chains.json').is_file():
            return _of_chains(folder, backbone)
        if (folder / 'grid.json').is_file():
            points = [Point(**point) for point in _record(folder / 'grid.json')['points']]
            values = {point.name: point.values for point in points}.get(backbone.parent.name, {})
            varied = {name: text for name, text in values.items() if name in ('policy', 'share')}
            return _of_training(backbone) | varied
    return _of_training(backbone)


def _place(backbone: Path) -> str:
    """What tells one backbone from another in the name of a rerun."""
    return '/'.join(backbone.parts[-3:-1])


def _classified(table: Path) -> list[Result]:
    """The rows of a table of ``tools/hpt_evaluate.py``, or of any other by that name."""
    record = table.parent / 'backbone.sha256'
    if not record.is_file():
        return read_csv(table)
    backbone = Path(record.read_text().split(maxsplit=1)[1].rstrip('\n'))
    found = read_csv(table, origin(backbone))
    return [replace(one, rerun=f'{_place(backbone)}, {one.rerun}') for one in found]


def _detected(run: Run) -> list[Result]:
    """The row of a detector that began with a backbone, without a value until it is trained; none for other runs."""
    begin = _hooks(run.config).get('InitFromBaseHook')
    evaluator = run.config.get('val_evaluator') or {}
    metric = _BOX_AP.get(str(evaluator.get('type')).rsplit('.', 1)[-1]) if isinstance(evaluator, dict) else None
    if begin is None or metric is None or not run.config.model.get('roi_head'):
        return []
    backbone = Path(begin.checkpoint).absolute()
    # A file that nothing here has trained is the base.
    known = dict(chain='B', steps='0') | origin(backbone)
    images = Path(run.config.val_dataloader.dataset.data_root).name
    row = Result(
        # Of another length it is another task, as COCO's 1x and 2x are.
        dataset=f'{images}, {steps_text(run.max_iters)}',
        chain=known['chain'],
        steps=int(known['steps']),
        protocol=DETECTION,
        metric=metric,
        rerun=f'{_place(backbone)}, {run.work_dir.name}',
        # MMDetection logs nothing where nothing was detected.
        value=100 * run.val[run.max_iters].get(metric, 0.0) if run.finished else None,
        policy=known.get('policy', FULL),
        share=float(known.get('share', WHOLE)),
    )
    return [row]


def read_folder(folder: str | Path) -> list[Result]:
    """The results of every evaluation in a folder, at any depth: by classification, and of trained detectors.

    What a table leaves open, because the evaluation was not told, is taken from where the backbone lies. The name of a
    rerun begins with the folder of the backbone, so that several pre-trainings can be read as one table. A detector
    counts with the last evaluation, by the AP of boxes.

    Raises:
        ConfigError: there is no evaluation, or nothing says of which chain it is.
    """
    folder = Path(folder)
    found = [one for table in sorted(folder.rglob('results.csv')) for one in _classified(table)]
    # MMEngine dumps a config at each start, two folders below the work directory.
    for work_dir in sorted({config.parents[2] for config in folder.rglob('*/vis_data/config.py')}):
        found += _detected(read_run(work_dir))
    if not found:
        raise ConfigError(
            f'{folder} has no finished evaluation of tools/hpt_evaluate.py and no detector that began with a '
            'backbone; name the folder of one.'
        )
    return found


def read(path: str | Path) -> list[Result]:
    """A table, or a folder of evaluations."""
    return read_folder(path) if Path(path).is_dir() else read_csv(path)
