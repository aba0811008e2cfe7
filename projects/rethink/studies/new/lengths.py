"""How long 1x is on so many images, how long a study takes here, and what fits into a budget."""

import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from ...analysis.logs import read_run
from ...checks.datasets import COCO_IMAGES
from ...errors import ConfigError

# 1x of Rethinking ImageNet Pre-training: 90k iterations of 16 images; the long schedule is its 6x.
ITERATIONS, IMAGES = 90_000, 16
LONG = 6
# Fewer steps than these teach a detector nothing, however few the images are.
LEAST = 100
EVALUATIONS = 10
# Seconds from the start of a training to its first step, and steps that are timed behind the first.
_START, _STEPS = 10, 4
_UNITS = dict(s=1, m=60, h=3600, d=86400)


@dataclass(frozen=True)
class Speed:
    """Of one detector on this machine.

    Args:
        step: seconds of a training step.
        image: seconds of a validation image.
    """

    step: float
    image: float


def by_the_rule(images: int, batch: int) -> tuple[int, str]:
    """Iterations of 1x, a multiple of the number of evaluations, and the sentence that derives them.

    As many epochs as 1x is of COCO's images, and at least :data:`LEAST` iterations.
    """
    epochs = ITERATIONS * IMAGES / COCO_IMAGES
    exact = epochs * images / batch
    iterations = max(LEAST, math.ceil(exact / EVALUATIONS) * EVALUATIONS)
    sentence = (
        f"1x is {ITERATIONS:,} iterations of {IMAGES} of COCO's {COCO_IMAGES:,} images, {epochs:.1f} epochs; of "
        f'{images} images in batches of {batch} these are {exact:.0f} iterations'
    )
    if exact < LEAST:
        return iterations, f'{sentence}, fewer than the {LEAST} that a detector needs at least: 1x is {iterations}'
    return iterations, f'{sentence}: 1x is {iterations}'


def seconds(text: str) -> float:
    """``'2h'``, ``'90m'`` or ``'1.5d'`` in seconds.

    Raises:
        ConfigError: it is none of these.
    """
    found = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([smhd])', text.strip())
    if not found or not float(found[1]):
        raise ConfigError(f'--budget is {text!r}, and is to be a time, as 90m or 2h.')
    return float(found[1]) * _UNITS[found[2]]


def words(duration: float) -> str:
    """Seconds in the unit of which there are a few."""
    for unit, name in ((86400, 'days'), (3600, 'hours'), (60, 'minutes')):
        if duration >= 2 * unit:
            return f'{duration / unit:.1f} {name}'
    return f'{duration:.0f} seconds'


def time_steps(config: Path, tools: Path, amp: bool, threads: int, batch: int) -> Speed:
    """Train some steps of a config as a study does, evaluate, and read the times from the log.

    Args:
        threads: of the process.
        batch: images in a batch of validation.

    Raises:
        ConfigError: the training ends with an error, which is told.
    """
    with tempfile.TemporaryDirectory(prefix='rethink_') as folder:
        options = [f'train_cfg.{key}={1 + _STEPS}' for key in ('max_iters', 'val_interval')]
        options += ['default_hooks.logger.interval=1', 'log_processor.window_size=1', 'default_hooks.checkpoint=None']
        command = [sys.executable, str(tools / 'train.py'), str(config), '--work-dir', folder]
        command += ['--amp'] * amp + ['--cfg-options', *options]
        ended = subprocess.run(
            command, env=os.environ | dict(OMP_NUM_THREADS=str(threads)), capture_output=True, text=True
        )
        run = read_run(Path(folder))
        if ended.returncode:
            last = [line for line in ended.stderr.splitlines() if line.strip()][-1:]
            raise ConfigError(f'{config.stem} cannot be trained to see how long it takes: {"".join(last)}')
    steps = [entry['time'] for iteration, entry in sorted(run.train.items()) if iteration > 1]
    evaluations = [entry['time'] for entry in run.val.values() if 'time' in entry]
    # MMEngine logs the mean time of a batch of validation.
    return Speed(median(steps), median(evaluations) / batch if evaluations else 0.0)


def duration(iterations: int, speeds: Sequence[Speed], images: int, side_by_side: int) -> float:
    """Seconds of trainings that go ``side_by_side``, of 1x and of the long schedule each.

    Args:
        iterations: of 1x.
        speeds: of each training of a length.
        images: that each evaluation sees.
    """
    steps = sum(speed.step for speed in speeds) * iterations * (1 + LONG)
    evaluations = sum(speed.image for speed in speeds) * images * EVALUATIONS * 2
    return (steps + evaluations + 2 * _START * len(speeds)) / side_by_side


def fitted(iterations: int, budget: float, speeds: Sequence[Speed], images: int, side_by_side: int) -> int:
    """The longest 1x, no longer than ``iterations``, with which all trainings fit into ``budget`` seconds.

    Raises:
        ConfigError: not even with the shortest that makes sense.
    """
    fixed = duration(0, speeds, images, side_by_side)
    each = (duration(iterations, speeds, images, side_by_side) - fixed) / iterations
    fits = min(iterations, int((budget - fixed) / each) // EVALUATIONS * EVALUATIONS)
    if fits < LEAST:
        least = duration(LEAST, speeds, images, side_by_side)
        raise ConfigError(
            f'{2 * len(speeds)} trainings of at least {LEAST} and {LONG * LEAST} iterations take {words(least)} here, '
            f'more than the {words(budget)} of --budget; give more, or fewer --seeds, --detectors small, a smaller '
            '--image-size or --batch.'
        )
    return fits


def of_all(speeds: Mapping[str, Speed], detectors: Sequence[str], arms: int, seeds: int) -> list[Speed]:
    """The speed of each training of a length: that of its detector when it is fine-tuned, the slowest of the arms."""
    return [speeds[detector] for detector in detectors for _ in range(arms * seeds)]
