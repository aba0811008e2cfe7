"""Where in a file of weights those of a backbone are: programs nest them, and put names before theirs.

``state_dict``, ``model``, DINO's ``teacher`` and ``student``, VISSL's four levels; ``module.``, ``backbone.``, MoCo's
``encoder_q.``, BYOL's ``online_network.encoder.``, CLIP's ``visual.``: no list of them is ever whole, so that any
place and any beginning is tried at which names and shapes are the backbone's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

from ...trust.tensors import compare

# As deep as VISSL nests them, and one more.
_DEEPEST = 5
# Of two networks with the same names one is the other's shadow, or not the one that its paper evaluates: the student
# of DINO, the key encoder of MoCo, the target of BYOL, averaged weights.
_SECOND = re.compile(r'student|encoder_k|key_encoder|target|momentum|(?<![a-z])ema(?![a-z])')


class Place(NamedTuple):
    """Tensors that a backbone can take.

    Args:
        keys: of the dictionaries that they are in, from without.
        prefix: what their names begin with.
        weights: by the backbone's names.
        match: of them; the others are lacking, or have another shape.
    """

    keys: tuple[str, ...]
    prefix: str
    weights: dict[str, Tensor]
    match: int

    def __str__(self) -> str:
        return '/'.join((*self.keys, *([f'{self.prefix}*'] if self.prefix else ())))

    @property
    def second(self) -> bool:
        return bool(_SECOND.search('/'.join((*self.keys, self.prefix))))


def places(content, model: nn.Module) -> list[Place]:
    """Those of a checkpoint, the best first: of the most tensors, and of equal ones that which papers evaluate.

    Args:
        content: of the file.
        model: the backbone.
    """
    own, found = [name for name in model.state_dict() if not name.endswith('num_batches_tracked')], []
    for keys, weights in _dictionaries(content):
        prefixes = {
            name.removesuffix(one) for one in own[:: max(len(own) // 8, 1)] for name in weights if name.endswith(one)
        }
        for prefix in sorted(one for one in prefixes if not one or one.endswith('.')):
            below = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            match = compare(model, below)[0]
            if match:
                found.append(Place(keys, prefix, below, match))
    return sorted(found, key=lambda one: (-one.match, one.second))


def _dictionaries(content, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Dictionaries that have tensors, wherever in a checkpoint but for its optimiser, in its order."""
    if not isinstance(content, Mapping) or len(keys) > _DEEPEST:
        return
    weights = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if weights:
        yield keys, weights
    for key, value in content.items():
        if isinstance(key, str) and 'optim' not in key:
            yield from _dictionaries(value, (*keys, key))
