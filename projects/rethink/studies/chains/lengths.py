"""How long the steps of a chain are, and which lengths one training gives."""

import copy
from collections.abc import Sequence

from mmengine.config import Config

from ...engine.schedules import ENDS, schedulers, without_end
from ...errors import ConfigError


def set_length(cfg: Config, iterations: int) -> None:
    """Train so many iterations; a schedule that ends with the training ends there, all else stays where it is.

    Raises:
        ConfigError: the config counts in epochs, or part of its schedule begins later.
    """
    before = (cfg.get('train_cfg') or {}).get('max_iters')
    if not isinstance(before, int):
        raise ConfigError(f'{cfg.filename} has no train_cfg.max_iters; a chain is of trainings by iterations.')
    cfg.train_cfg.max_iters = iterations
    for name, scheduler in schedulers(cfg).items():
        for key in ENDS:
            if scheduler.get(key) == before and not scheduler.get('by_epoch', True):
                scheduler[key] = iterations
        if scheduler.get('end') == iterations <= scheduler.get('begin', 0):
            raise ConfigError(
                f'{name} of {cfg.filename} begins at {scheduler.begin}, so that {iterations} '
                'iterations are too few for it; ask for more, or change where it begins.'
            )


def same_until(cfg: Config, lengths: Sequence[int]) -> bool:
    """Whether a training passes through what the shorter ones end with, so that one gives the exports of all.

    That is so if nothing in its schedule depends on the length: a constant learning rate, warm-up, drops at given
    iterations. A cosine to 0 does.
    """

    def schedule(length: int) -> list:
        own = copy.deepcopy(cfg)
        set_length(own, length)
        found = [dict(scheduler) for scheduler in schedulers(own).values()]
        for scheduler in found:
            if without_end(scheduler) and scheduler.get('end') == length:
                del scheduler['end']
        return found

    return all(schedule(length) == schedule(lengths[0]) for length in lengths)
