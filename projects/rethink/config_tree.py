"""What a nested config says of its parts: their types, its batch, whether a file is here, and how two differ."""

import json
from collections.abc import Iterable

from mmengine.config import Config

from .errors import ConfigError


def items(tree) -> Iterable[tuple]:
    """Keys and values of a dict or a list in a nested config; nothing of anything else."""
    return (
        tree.items() if isinstance(tree, dict | Config) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    )


def find_types(tree, names: set[str], path: str = 'model') -> list[str]:
    """The dotted names of all ``type`` entries in a nested config whose value, without its scope, is in ``names``."""
    found = []
    for key, value in items(tree):
        if key == 'type' and type_name(value) in names:
            found.append(path)
        found += find_types(value, names, f'{path}.{key}')
    return found


def type_name(kind) -> str:
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')


# Transforms that give the bits of MMDetection's and MMPretrain's, and the names of these.
SAME_BITS = {
    'LazyLoadAnnotations': 'LoadAnnotations',
    'LazyCopyPaste': 'CopyPaste',
    'PlanarPad': 'Pad',
    'PlanarPackDetInputs': 'PackDetInputs',
    'FastRandomResizedCrop': 'RandomResizedCrop',
    'FastColorJitter': 'torchvision/ColorJitter',
}


def step_name(kind) -> str:
    """The name of a transform, by what it does: MMDetection's of one that gives the same bits."""
    name = type_name(kind)
    return SAME_BITS.get(name, name)


def every_step(steps) -> Iterable[dict]:
    """The transforms of a pipeline and those within them, at any depth: ``RandomChoice``, ``MultiBranch``, views, TTA.

    Those of ``Albu`` are albumentations', which have names of their own.
    """
    for _, one in items(steps):
        if isinstance(one, dict) and 'type' in one:
            yield one
        if not (isinstance(one, dict) and type_name(one.get('type')) == 'Albu'):
            yield from every_step(one)


def is_remote(path) -> bool:
    return '://' in str(path)


def remote_checkpoints(cfg) -> list[str]:
    """All checkpoints in a config that are downloaded: ``torchvision://…``, ``open-mmlab://…``, ``https://…``."""
    found = []
    for key, value in items(cfg):
        if key in ('checkpoint', 'load_from', 'pretrained') and isinstance(value, str) and is_remote(value):
            found.append(value)
        found += remote_checkpoints(value)
    return sorted(set(found))


def accumulated(cfg: Config) -> int:
    """Iterations in one step of the optimiser."""
    return (cfg.get('optim_wrapper') or {}).get('accumulative_counts') or 1


def total_batch(cfg: Config, processes: int) -> tuple[int, int]:
    """Images in one iteration, and images in one step of the optimiser (``accumulative_counts`` iterations).

    Raises:
        ConfigError: the config's ``train_dataloader`` has no batch size.
    """
    batch = (cfg.get('train_dataloader') or {}).get('batch_size')
    if not isinstance(batch, int):
        raise ConfigError(f'--auto-scale needs train_dataloader.batch_size to be a number of images, not {batch!r}.')
    return processes * batch, processes * batch * accumulated(cfg)


def config_content(cfg: Config) -> dict:
    """A config as JSON has it, without what says where and how a training is started."""
    plain = {key: value for key, value in cfg.to_dict().items() if key not in ('work_dir', 'launcher')}
    return json.loads(json.dumps(plain, default=str))


def first_difference(one, other, name: str = '') -> str | None:
    """The dotted name of the first entry in which two nested configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            found = first_difference(one.get(key), other.get(key), f'{name}.{key}'.lstrip('.'))
            if found:
                return found
        return None
    return name if one != other else None
