"""Where in a file of weights those of a network are: programs nest them, and put names before theirs.

``state_dict``, ``model``, DINO's ``teacher`` and ``student``, VISSL's four levels; ``module.``, ``backbone.``, MoCo's
``encoder_q.``, BYOL's ``online_network.encoder.``, CLIP's ``visual.``: no list of them is ever whole, so that any
place and any beginning is tried at which names and shapes are the network's.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor, nn

# As deep as VISSL nests them, and one more.
_DEEPEST = 5
# Of two networks with the same names one is the other's shadow, or not the one that its paper evaluates: the student
# of DINO, the key encoder of MoCo, the target of BYOL, averaged weights.
_SECOND = re.compile(r'student|encoder_k|key_encoder|target|momentum|(?<![a-z])ema(?![a-z])')


class Place(NamedTuple):
    """Tensors that a network can take.

    Args:
        keys: of the dictionaries that they are in, from without.
        prefix: what their names begin with.
        weights: by the network's names.
        match: how many it has of these, in name and shape; :func:`rethink.trust.tensors.compare` says which not.
    """

    keys: tuple[str, ...] = ()
    prefix: str = ''
    weights: Mapping[str, Tensor] = {}
    match: int = 0

    def __str__(self) -> str:
        return '/'.join((*self.keys, *([f'{self.prefix}*'] if self.prefix else ())))

    @property
    def second(self) -> bool:
        return bool(_SECOND.search('/'.join((*self.keys, self.prefix))))


def places(content, model: nn.Module) -> list[Place]:
    """Those of a checkpoint with the most tensors of a network; first what papers evaluate. Empty where none is.

    Args:
        content: of the file.
    """
    own = {
        name: value.shape
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor) and not name.endswith('num_batches_tracked')
    }
    found = {}
    for keys, weights in _dictionaries(content):
        for prefix, match in Counter(_prefixes(weights, own)).items():
            found[keys, prefix] = match, weights
    most = max((match for match, _ in found.values()), default=0)
    best = []
    for (keys, prefix), (match, weights) in found.items():
        if match == most:
            below = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            best.append(Place(keys, prefix, below, match))
    return sorted(best, key=lambda one: one.second)


def _prefixes(weights: Mapping[str, Tensor], own: Mapping[str, tuple]) -> Iterator[str]:
    """What stands before a name of the network's, once for each tensor that has its shape as well."""
    for name, value in weights.items():
        # Each part behind a point, and the whole.
        for start in (0, *(at.end() for at in re.finditer(r'\.', name))):
            if own.get(name[start:]) == value.shape:
                yield name[:start]


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
