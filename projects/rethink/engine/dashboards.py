"""Where a training can be watched, beside its own log: ``--tensorboard``, ``--wandb`` and ``--mlflow``.

Each adds MMEngine's backend of this name to those of the config's visualizer. What is trained stays the same: the
local backend, which curves and reports read, stays the first, and a comparison of configs leaves the backends out.
"""

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

# Flag, which is also the name of the package on PyPI -> MMEngine's backend.
BACKENDS = dict(tensorboard='TensorboardVisBackend', wandb='WandbVisBackend', mlflow='MLflowVisBackend')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a tool that trains a flag for each of them."""
    for name, backend in BACKENDS.items():
        parser.add_argument(
            f'--{name}', action='store_true', help=f"also log to it (MMEngine's {backend}, docs/look.md)"
        )


def asked(args: argparse.Namespace) -> list[str]:
    """Which of the flags were given."""
    return [name for name in BACKENDS if getattr(args, name)]


def check(names: Sequence[str]) -> None:
    """The packages are there.

    Raises:
        ConfigError: one is not.
    """
    for name in names:
        spec = find_spec(name)
        # wandb leaves a folder of its name behind, which Python would take for a package without code.
        if spec is None or spec.origin is None:
            raise ConfigError(
                f'--{name} needs the package {name}, which is not installed here; install it (pip install {name}), or '
                f'train without --{name}.'
            )


def use(cfg: 'Config', names: Sequence[str]) -> None:
    """Log a training to these as well; one that the config has is not added again.

    Runs are told apart by their work directory. The variables that the packages read are left to them
    (``WANDB_PROJECT``, ``WANDB_MODE``, …); MMEngine's backend for MLflow would not see ``MLFLOW_TRACKING_URI``.

    Args:
        cfg: of a training, with its ``work_dir``; changed.
        names: of :data:`BACKENDS`.

    Raises:
        ConfigError: a package is not installed.
    """
    from mmengine.config import ConfigDict

    from ..config_tree import type_name

    check(names)
    if not names:
        return
    visualizer = ConfigDict(cfg.get('visualizer') or dict(type='Visualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    there = {type_name(one.get('type')) for one in backends}
    own = dict(
        tensorboard={},
        wandb=dict(init_kwargs=dict(name=cfg.work_dir)),
        mlflow=dict(run_name=cfg.work_dir, tracking_uri=os.environ.get('MLFLOW_TRACKING_URI')),
    )
    for name in names:
        if BACKENDS[name] not in there:
            backends.append(dict(type=BACKENDS[name], **own[name]))
    cfg.visualizer = ConfigDict(visualizer, vis_backends=backends)
