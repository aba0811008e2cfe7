"""The backbone in a checkpoint, whoever wrote it, under the names that MMPretrain's and MMDetection's ResNet has.

====================  =======================================  ===============================================
written by            backbone                                 projector (two layers, MMPretrain's ``MoCoV2Neck``)
====================  =======================================  ===============================================
MoCo's own code       ``module.encoder_q.*``                   ``module.encoder_q.fc.{0,2}.*`` (v2)
MMPretrain            ``backbone.*``                           ``neck.mlp.{0,2}.*`` (of a ``MoCo``)
MMDetection           ``backbone.*``                           none
torchvision           ``*``                                    none
this project          ``backbone.*`` (``ExportBackboneHook``)  ``neck.mlp.{0,2}.*``
====================  =======================================  ===============================================

Files are read by PyTorch's safe loader, which runs no code from them.
"""

import os
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import ConfigError, some_names
from ..trust.tensors import check_tensors, compare, read_state_dict


class Weights(NamedTuple):
    """What a checkpoint has for a backbone and a projector.

    Args:
        written_by: MoCo, MMPretrain or MMDetection, torchvision.
        backbone: name in the backbone (``layer1.0.conv1.weight``) → tensor, on CPU.
        projector: name in ``MoCoV2Neck`` (``mlp.0.weight``) → tensor; empty where there is none.
    """

    written_by: str
    backbone: dict[str, Tensor]
    projector: dict[str, Tensor]


def _below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def read_weights(path: str | os.PathLike) -> Weights:
    """The backbone and the projector in a local checkpoint; of a MoCo those of the query.

    Raises:
        ConfigError: the file is not there, is no checkpoint or only part of one, holds more than weights, or has no
            backbone under any of the known names.
    """
    path = str(path)
    if '://' in path:
        raise ConfigError(f'the base {path} is not a local file; download it and name the file.')
    weights = read_state_dict(path, 'base')
    backbone = _below(weights, 'backbone.')
    if backbone:
        return Weights('MMPretrain or MMDetection', backbone, _projector(_below(weights, 'neck.mlp.')))
    backbone = _below(weights, 'encoder_q.')
    if backbone:
        layers = _below(backbone, 'fc.')
        backbone = {key: value for key, value in backbone.items() if not key.startswith('fc.')}
        return Weights('MoCo', backbone, _projector(layers))
    if 'conv1.weight' in weights:
        # Its classifier of ImageNet is called as the projector of MoCo v1.
        return Weights('torchvision', {key: one for key, one in weights.items() if not key.startswith('fc.')}, {})
    raise ConfigError(
        f'{path} has no backbone: neither backbone.* (MMPretrain, MMDetection) nor encoder_q.* (MoCo) nor '
        f'conv1.weight (torchvision) is among its {len(weights)} tensors ({some_names(weights) or "none"}).'
    )


def _projector(layers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of the layers ``0.weight``, … of an MLP those of MoCo v2's projector; v1's is one layer and none of these."""
    return {f'mlp.{key}': value for key, value in layers.items() if key.split('.')[0] in ('0', '2')}


def read_backbone(path: str | os.PathLike) -> dict[str, Tensor]:
    """The backbone in a local checkpoint, ready for ``model.backbone.load_state_dict`` (:func:`read_weights`)."""
    return read_weights(path).backbone


def check_fit(module: nn.Module, weights: dict[str, Tensor], what: str) -> str:
    """All of a module comes from the weights, and all of the weights goes into the module; '320 of 320 tensors'.

    The second half tells a ResNet-101 from a ResNet-50, whose layers have the same names and shapes as some of the
    deeper one's. ``num_batches_tracked``, which old files lack, does not count.

    Raises:
        ConfigError: a tensor is missing, has another shape, is in the file alone, or is none that a model can have.
    """
    match, lacking, differing, total = compare(module, weights)
    own = module.state_dict()
    surplus = [key for key in weights if key not in own and not key.endswith('num_batches_tracked')]
    if lacking or differing or surplus:
        wrong = [
            f'{len(names)} {kind} ({some_names(names)})'
            for kind, names in (
                ('are missing', lacking),
                ('have another shape', differing),
                ('are not in the model', surplus),
            )
            if names
        ]
        raise ConfigError(
            f'{what} does not fit the model: {match} of {total} tensors match, {", ".join(wrong)}; name a checkpoint '
            'of this architecture, or change model.backbone.'
        )
    check_tensors(weights, what, own)
    return f'{match} of {total} tensors'


def load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights that :func:`check_fit` has passed into a module."""
    own = module.state_dict()
    module.load_state_dict({key: value for key, value in weights.items() if key in own}, strict=False)
