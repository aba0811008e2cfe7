"""All rules, in the order in which they are asked."""

import importlib

from .facts import Facts
from .findings import RULES

__all__ = ['RULES', 'Facts']

# fmt: off
_ORDER = [
    'packages', 'files', 'voc', 'classes', 'order', 'keypoints', 'masks', 'contents', 'images',
    'evaluation', 'validation', 'init', 'levels', 'rois', 'schedule', 'pretraining',
    'unused', 'ignored', 'loaders', 'intervals', 'recipe',
]
# fmt: on
_PLACES = {importlib.import_module(f'{__package__}.{name}').__name__: place for place, name in enumerate(_ORDER)}
# A module registers its rules when it is imported, which may have been earlier, for what else it has.
for _name in sorted(RULES, key=lambda name: _PLACES.get(RULES[name][0].__module__, len(_ORDER))):
    RULES[_name] = RULES.pop(_name)
