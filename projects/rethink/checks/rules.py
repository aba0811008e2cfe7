"""All rules: they register themselves, and are asked in this order."""

# isort: off
from . import packages, files, voc, classes, order, keypoints, masks, contents, images  # noqa: F401
from . import evaluation, validation, init, levels, schedule, pretraining  # noqa: F401
from . import unused, ignored, loaders, intervals, recipe  # noqa: F401

# isort: on
from .facts import Facts
from .findings import RULES

__all__ = ['RULES', 'Facts']
