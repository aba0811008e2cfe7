"""Overrides of HPT's study of robustness: which augmentations pre-training has, and which share of the images.

Reed et al. 2022, section 4, varies both for one pre-training at a time. A policy and a share are overrides of one MoCo
config; ``tools/grid_search.py --axis policy …`` and ``--axis share …`` write them, and ``--cfg-options`` takes them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..config_tree import step_name
from ..errors import ConfigError

# Policy → transforms that never happen, as in the released configs. The last is a recipe of HPT-BN.
POLICIES = {
    'full': (),
    'no_jitter': ('ColorJitter',),
    'no_grey': ('RandomGrayscale',),
    'crop_blur': ('ColorJitter', 'RandomGrayscale', 'RandomFlip'),
    'crop': ('ColorJitter', 'RandomGrayscale', 'GaussianBlur', 'RandomFlip'),
    'crop_flip': ('ColorJitter', 'RandomGrayscale', 'GaussianBlur'),
}
AUGMENTATIONS = POLICIES['crop']


def _probabilities(tree, name: str, enclosing: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Each transform in a nested config, with the dotted name of the ``prob`` that decides whether it happens."""
    if isinstance(tree, list | tuple):
        for index, one in enumerate(tree):
            yield from _probabilities(one, f'{name}.{index}', enclosing)
    elif isinstance(tree, dict):
        own = f'{name}.prob' if 'prob' in tree else enclosing
        if 'type' in tree:
            # mmpretrain.RandomFlip, torchvision/ColorJitter
            yield re.split('[./]', step_name(tree['type']))[-1], own
        for key, one in tree.items():
            yield from _probabilities(one, f'{name}.{key}', own)


def policy_overrides(cfg: Config, policy: str) -> list[str]:
    """``KEY=VALUE`` strings that leave augmentations of :data:`POLICIES` away, by a probability of 0.

    Args:
        cfg: of a training on views with all of MoCo v2's augmentations.
        policy: a name.

    Raises:
        ConfigError: an unknown policy, or a config that lacks one of the augmentations.
    """
    if policy not in POLICIES:
        raise ConfigError(f'{policy!r} is no augmentation policy; the policies are {", ".join(POLICIES)}.')
    found = list(_probabilities(cfg.train_dataloader.dataset, 'train_dataloader.dataset'))
    for augmentation in AUGMENTATIONS:
        if not [place for kind, place in found if kind == augmentation and place]:
            raise ConfigError(
                f'{cfg.filename} has no {augmentation} with a prob in its training data, which the full policy has; '
                'name a config with the views of configs/_base_/datasets/moco_views.py.'
            )
    # A float, which RandomFlip insists on.
    return [f'{place}=0.0' for kind, place in found if kind in POLICIES[policy]]


def share_overrides(cfg: Config, share: str) -> list[str]:
    """``KEY=VALUE`` strings that train on the first images of the list, which is in random order.

    A smaller share lies within every larger one. Nothing is overridden for all of them. Of fewer images than a step of
    all processes the list is gone through again within a step (1 % of RESISC-45 are 252); the release repeats its
    short lists.

    Args:
        cfg: of a training on one list of images without labels, a path in each line.
        share: above 0 and up to 1.

    Raises:
        ConfigError: another share, no such list, or no image.
    """
    try:
        fraction = float(share)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise ConfigError(f'share is to be above 0 and up to 1, not {share!r}.')
    dataset = cfg.train_dataloader.dataset
    if not dataset.get('ann_file'):
        raise ConfigError(
            f'share takes the first of a list of images, and {cfg.filename} has no ann_file to train on.'
        )
    path = Path(dataset.get('data_root', ''), dataset.ann_file)
    if not path.is_file():
        raise ConfigError(f'there is no {path}, of which a share is to be taken; write it with make_splits.py.')
    with open(path, encoding='utf-8') as file:
        total = sum(bool(line.strip()) for line in file)
    images = round(fraction * total)
    if not images:
        raise ConfigError(f'a share of {share} is none of the {total} images in {path}; take a larger one.')
    if images == total:
        return []
    # tools/hpt_chain.py takes the images from the second.
    keys = ['train_dataloader.dataset'] + ['unlabelled_set'] * ('unlabelled_set' in cfg)
    step = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or cfg.train_dataloader.batch_size
    return [f'{key}.indices={images}' for key in keys] + ['train_dataloader.sampler.type=InfiniteSampler'] * (
        images < step
    )
