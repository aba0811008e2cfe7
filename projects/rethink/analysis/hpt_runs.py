"""Results of study B from the folders that its tools leave: of which chain a backbone is, and what it came to.

``tools/hpt_evaluate.py`` writes a table of results into its folder, and beside it of what file they are. That file
lies in a folder of ``tools/hpt_chain.py``, or is what a training by ``tools/train.py`` or ``tools/grid_search.py``
exported.
"""

import json
from dataclasses import replace
from pathlib import Path

from ..grid import Point
from ..hooks.checkpoint import read_checkpoint
from ..preflight import ConfigError
from .hpt import Result, read_csv
from .logs import read_run


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


def _of_training(backbone: Path) -> dict[str, str]:
    """By the hooks of its config, which say with what it began and what of it was trained."""
    config = read_run(backbone.parent).config
    if config is None:
        return {}
    hooks = {str(hook.type).rsplit('.', 1)[-1]: hook for hook in config.get('custom_hooks') or []}
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


def read_folder(folder: str | Path) -> list[Result]:
    """The results of every evaluation in a folder, at any depth.

    What a table leaves open, because the evaluation was not told, is taken from where the backbone lies. The name of a
    rerun begins with the folder of the backbone, so that several pre-trainings can be read as one table.

    Raises:
        ConfigError: there is no evaluation, or nothing says of which chain it is.
    """
    found = []
    for path in sorted(Path(folder).rglob('results.csv')):
        record = path.parent / 'backbone.sha256'
        if record.is_file():
            backbone = Path(record.read_text().split(maxsplit=1)[1].rstrip('\n'))
            place = '/'.join(backbone.parts[-3:-1])
            found += [replace(one, rerun=f'{place}, {one.rerun}') for one in read_csv(path, origin(backbone))]
        else:
            found += read_csv(path)
    if not found:
        raise ConfigError(f'{folder} has no finished evaluation of tools/hpt_evaluate.py; name its --out.')
    return found


def read(path: str | Path) -> list[Result]:
    """A table, or a folder of evaluations."""
    return read_folder(path) if Path(path).is_dir() else read_csv(path)
