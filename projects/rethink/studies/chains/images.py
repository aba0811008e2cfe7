"""Images without labels for the steps of a chain: a data set of study B, or what a config trains on."""

import copy
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from ...engine import launch
from ...errors import ConfigError
from ...reuse import config_path


class Images(NamedTuple):
    """Images without labels, as a config has them.

    Args:
        name: as it was asked for.
        dataset: config of a data set, without a pipeline.
        mean, std: RGB, of pixels from 0 to 255; None for those of the config that is trained.
    """

    name: str
    dataset: dict
    mean: list[float] | None
    std: list[float] | None

    def put_into(self, cfg: Config) -> None:
        """Train ``cfg`` on these, with its own views."""
        loader = cfg.train_dataloader
        loader.dataset = copy.deepcopy(dict(self.dataset, pipeline=loader.dataset.get('pipeline')))
        if self.mean is not None:
            cfg.model.data_preprocessor.update(mean=list(self.mean), std=list(self.std))


def images_in(cfg: Config, name: str) -> Images:
    """Those of a config: its ``unlabelled_set``, ``mean`` and ``std``, or what it trains on, with its preprocessor's.

    Args:
        name: what the images are called.

    Raises:
        ConfigError: it has none.
    """
    dataset = cfg.get('unlabelled_set') or (cfg.get('train_dataloader') or {}).get('dataset')
    if not dataset:
        raise ConfigError(f'{name} has no images to train on: neither an unlabelled_set nor a train_dataloader.')
    dataset = {key: value for key, value in dataset.to_dict().items() if key != 'pipeline'}
    of = cfg if 'mean' in cfg else (cfg.get('model') or {}).get('data_preprocessor') or {}
    return Images(name, dataset, of.get('mean'), of.get('std'))


def images_of(name: str) -> Images:
    """Those of a data set of study B (``resisc45`` for ``configs/_base_/datasets/hpt_resisc45.py``) or of a config.

    Raises:
        ConfigError: there is no such data set or config, or it has no images.
    """
    if name.endswith('.py'):
        return images_in(launch.load_config(name), name)
    try:
        path = config_path(f'_base_/datasets/hpt_{name}.py')
    except FileNotFoundError:
        folder = Path(config_path('_base_/datasets/hpt_resisc45.py')).parent
        known = sorted(file.stem.removeprefix('hpt_') for file in folder.glob('hpt_*.py'))
        readers = ('single_label', 'multi_label')
        raise ConfigError(
            f'there is no data set {name!r}; name a config (….py) or one of '
            f'{", ".join(one for one in known if one not in readers)}.'
        ) from None
    return images_in(launch.load_config(path), name)
