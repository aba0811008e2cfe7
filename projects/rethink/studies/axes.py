"""Axes of a grid: what a value changes in a config.

Rethinking ImageNet Pre-training, section 5.2, searches learning rate, its decay and the range of image scales again
for each size of training set; Self-Supervised Pretraining Improves Self-Supervised Pretraining, section 4, varies
augmentations and the share of images. Every other axis is the dotted name of an entry.
"""

import itertools
import re
from dataclasses import dataclass

from mmengine.config import Config

from ..config_tree import find_types
from ..errors import ConfigError
from .robustness import policy_overrides, share_overrides


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float('inf'):
        raise ConfigError(f'{name} is to be a number above 0, not {text!r}.')
    return number


def _of_lr(cfg: Config, text: str) -> list[str]:
    return _of_key('optim_wrapper.optimizer.lr', cfg, f'{_number(text, "lr"):g}')


def _of_decay(cfg: Config, text: str) -> list[str]:
    """By what the learning rate is multiplied at each milestone."""
    steps = find_types(cfg.get('param_scheduler'), {'MultiStepLR'}, 'param_scheduler')
    if not steps:
        raise ConfigError(f'decay is the gamma of MultiStepLR, which is not in param_scheduler of {cfg.filename}.')
    return [f'{step}.gamma={_number(text, "decay"):g}' for step in steps]


_RESIZES = {'Resize', 'RandomResize'}


def _of_shorter_side(cfg: Config, text: str) -> list[str]:
    """From what range the shorter side is drawn, in pixels; the longest that an image may become stays."""
    if not re.fullmatch(r'\d+(,\d+)?', text):
        raise ConfigError(f'shorter_side is to be LOW,HIGH or one number, in pixels, not {text!r}.')
    sides = [int(side) for side in text.split(',')]
    dataset = cfg.train_dataloader.dataset
    places = find_types(dataset, _RESIZES, 'train_dataloader.dataset')
    if not places:
        raise ConfigError(
            f'shorter_side changes Resize or RandomResize, and the training data of {cfg.filename} have neither.'
        )
    overrides = []
    for place in places:
        resize = _get(cfg, place)
        if not resize.get('scale') or not resize.get('keep_ratio'):
            raise ConfigError(f'{place} of {cfg.filename} has no scale with keep_ratio=True, so no shorter side.')
        longer = max(_flat(resize.scale))
        if not 0 < sides[0] <= sides[-1] <= longer:
            raise ConfigError(
                f'shorter_side {text} is not a range from 1 to {longer}, the longest side that {place} gives an image.'
            )
        overrides += [
            f'{place}.type=RandomResize',
            f'{place}.scale=[({longer},{sides[0]}),({longer},{sides[-1]})]',
        ]
    return overrides


def _flat(scale) -> list[int]:
    return [side for part in scale for side in (part if isinstance(part, list | tuple) else [part])]


def _get(cfg, key: str):
    """The entry of a config with a dotted name; KeyError where there is none."""
    for part in key.split('.'):
        try:
            cfg = cfg[int(part)] if isinstance(cfg, list | tuple) else cfg[part]
        except (IndexError, ValueError, TypeError, AttributeError) as error:
            raise KeyError(key) from error
    return cfg


def _of_key(key: str, cfg: Config, text: str) -> list[str]:
    try:
        _get(cfg, key)
    except KeyError:
        raise ConfigError(
            f'{cfg.filename} has no {key} to vary; name an entry of it (or give it one with --cfg-options), or one of '
            f'{", ".join(NAMED)}.'
        ) from None
    return [f'{key}={text}']


# Three of study A's search and two of study B's robustness; every other axis is the dotted name of an entry.
NAMED = dict(lr=_of_lr, decay=_of_decay, shorter_side=_of_shorter_side, policy=policy_overrides, share=share_overrides)


@dataclass(frozen=True)
class Point:
    """One training of a grid.

    Args:
        values: name of each axis -> its value, as written.
        overrides: ``KEY=VALUE`` strings that make the config that of this point.
    """

    values: dict[str, str]
    overrides: list[str]

    @property
    def name(self) -> str:
        """Its folder, such as ``lr=0.04_decay=0.02``: of a dotted name the last part, for odd characters ``-``."""
        written = [(axis.rsplit('.', 1)[-1], value) for axis, value in self.values.items()]
        return '_'.join(f'{axis}={re.sub(r"[^0-9A-Za-z_.+-]", "-", value)}' for axis, value in written)


def points(cfg: Config, axes: dict[str, list[str]]) -> list[Point]:
    """Every combination of values, the last axis varying fastest.

    Args:
        cfg: the config that all points share.
        axes: name -> values; a name is one of :data:`NAMED` or dotted, as in ``optim_wrapper.optimizer.momentum``.

    Raises:
        ConfigError: an axis without values, one that the config has no place for, or a value that does not fit.
    """
    for axis, values in axes.items():
        if not values:
            raise ConfigError(f'the axis {axis} has no values; name at least one.')
    found = []
    for values in itertools.product(*axes.values()):
        chosen = dict(zip(axes, values, strict=True))
        overrides = []
        for axis, text in chosen.items():
            overrides += NAMED[axis](cfg, text) if axis in NAMED else _of_key(axis, cfg, text)
        found.append(Point(chosen, overrides))
    return found
