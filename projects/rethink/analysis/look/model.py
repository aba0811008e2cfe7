"""Which config and which checkpoint somebody means, who has named a model by one or both."""

import os
from pathlib import Path

from mmengine.config import Config

from ...checks.datasets import unwrapped
from ...config_tree import type_name
from ...configs import provenance
from ...engine import launch
from ...errors import ConfigError, say
from ...trust.checkpoints import best_checkpoint, latest_checkpoint

CHECKPOINTS = ('.pth', '.pt', '.tar', '.ckpt')


def find(model: str, checkpoint: str | None = None, options: dict | None = None) -> tuple[Config, str]:
    """The config of a detector and the path or address of its weights.

    Args:
        model: a config, ``package::path``, a work directory, or a checkpoint with its config within. Configs that
            MMEngine wrote, in the last two, are read and not executed.
        checkpoint: None for that of the work directory (the best so far, if the training keeps it, else the last
            that is whole), or the one that ``model`` is.
        options: as of ``--cfg-options``.

    Raises:
        ConfigError: one of them is not there or cannot be read, the config is of no detector, or no weights are named.
    """
    of_file = not os.path.isdir(model) and Path(model).suffix in CHECKPOINTS
    if of_file and checkpoint:
        raise ConfigError(f'{model} and {checkpoint} are both checkpoints; name a config and one of them.')
    if os.path.isdir(model):
        _check_folder(model)
    resolved = provenance.read(model, options)
    cfg = resolved.config
    if cfg.filename is None:  # within a checkpoint
        cfg = Config(cfg.to_dict(), cfg_text=cfg.pretty_text, filename=model)
    launch.import_custom(cfg)
    checkpoint = checkpoint or (model if of_file else None)
    if checkpoint is None and os.path.isdir(model):
        checkpoint = best_checkpoint(model) or latest_checkpoint(model, doing='taking')
        if checkpoint is None:
            raise ConfigError(f'{model} has no whole checkpoint yet; name one, or wait until the training writes it.')
        say(f'{checkpoint}, with the config {resolved.file}.')
    if checkpoint is None:
        trained = Path('work_dirs') / Path(model).stem
        example = trained if trained.is_dir() else 'work_dirs/…'
        raise ConfigError(
            f'{model} is a config, and its weights are not named; name them behind it (--weights FILE), or a work '
            f'directory in its place ({example}), which has both.'
        )
    _check_detector(cfg, model)
    return cfg, checkpoint


def _check_folder(folder: str) -> None:
    """A folder in which trainings have their folders is told from one in which a training was started."""
    if any(Path(folder).glob('*.pth')) or any(Path(folder).glob('*/vis_data/config.py')):
        return
    below = sorted({str(path.parent) for path in Path(folder).glob('**/last_checkpoint')})
    if below:
        raise ConfigError(
            f'no training was started in {folder} itself, but in {len(below)} folders below it; name one, such as '
            f'{below[0]}.'
        )


def _check_detector(cfg: Config, name: str) -> None:
    """It can be asked for boxes, and says how an image is given to it; its data set is the one within others."""
    if 'model' not in cfg:
        raise ConfigError(f'{name} has no model; name the config of a detector.')
    if cfg.get('default_scope', 'mmdet') != 'mmdet':
        raise ConfigError(
            f'{name} is of {cfg.default_scope}, and pictures are painted with what a detector of MMDetection finds; '
            'name the config of a detector.'
        )
    cfg.test_dataloader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not cfg.test_dataloader:
        raise ConfigError(f'{name} has no test_dataloader, whose pipeline says how images are prepared; add one.')
    cfg.test_dataloader.dataset = next(unwrapped(cfg.test_dataloader.dataset, ''))[1]
    steps = cfg.test_dataloader.dataset.get('pipeline') or []
    if not any(_loads(step) for step in steps):
        raise ConfigError(f'the test pipeline of {name} has no LoadImageFromFile, so it reads no image; add it.')
    # MMDetection's inferencer looks for it by its name, which configs of the read_base kind have as a class.
    for step in steps:
        if _loads(step):
            step['type'] = 'LoadImageFromFile'


def _loads(step: dict) -> bool:
    return type_name(step.get('type')) == 'LoadImageFromFile'
