"""``B``: the base, as it is but for the running statistics of its BN."""

import os
import time
from pathlib import Path

import torch
from mmengine.config import Config

from ...engine import launch
from ...engine.hooks.hierarchy import InitFromBaseHook, write_backbone
from ...engine.hooks.norm import batches_beside_training, reestimate_bn, unwrapped
from ...errors import ConfigError
from .defaults import BN_IMAGES


def reestimate_base(cfg: Config, base: str | os.PathLike, path: str | os.PathLike, num_images: int = BN_IMAGES) -> int:
    """B: a base whose BN has the mean and variance of its inputs on other images; weights stay as they are.

    The images are those on which ``cfg`` trains, in one of its views, in batches of its size
    (:func:`rethink.engine.hooks.norm.reestimate_bn`).

    Args:
        cfg: a self-supervised training of this backbone.
        base: local checkpoint.
        path: of the backbone, as :class:`rethink.engine.hooks.ExportBackboneHook` writes one; without a projector.
        num_images: fewer where there are fewer, rounded down to whole batches.

    Returns:
        How many images it were.

    Raises:
        ConfigError: the base does not fit the model, the model has no BN, or there are fewer images than a batch.
    """
    start = time.monotonic()
    runner = launch.build_runner(cfg)
    model = unwrapped(runner.model)
    InitFromBaseHook(str(base), projector=False).initialise(model)
    loader = runner.train_loop.dataloader
    batch_size = loader.batch_sampler.batch_size
    number = min(num_images, len(loader.dataset)) // batch_size
    if number == 0:
        raise ConfigError(
            f'there are {min(num_images, len(loader.dataset))} images for the statistics of BN, fewer than a batch of '
            f'{batch_size}; name more, or set a smaller train_dataloader.batch_size.'
        )

    def step(batch: dict) -> torch.Tensor:
        views = model.data_preprocessor(batch, True)['inputs']
        return model.backbone(views[0] if isinstance(views, list | tuple) else views)

    changed = reestimate_bn(model.backbone, batches_beside_training(runner, number), step)
    if not changed:
        raise ConfigError(
            f'the backbone of {cfg.filename} has no BN whose statistics are trained; set norm_eval=False and '
            'frozen_stages=-1.'
        )
    name = Path(cfg.filename or '').stem or None
    seconds = time.monotonic() - start
    write_backbone(path, model, config=name, base=str(base), iterations=0, images=number * batch_size, seconds=seconds)
    return number * batch_size
