"""ResNet-RS (Bello et al. 2021, https://arxiv.org/abs/2103.07579): timm's, also as TF Vision computes it.

The two-stage detectors of Vasconcelos et al. 2022 (https://arxiv.org/abs/2204.00484) start from TF Vision's
ResNet-RS-101 with swish, `imagenet_resnetrs101_i192` (https://github.com/tensorflow/models, official/vision), which no
library for PyTorch carries; :func:`read_tf_vision` and :func:`to_timm` convert its checkpoint.
"""

from collections.abc import Mapping

import numpy as np
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError


@MODELS.register_module(name='ResNetRS')
def build_resnet_rs(model_name: str, norm_cfg: dict, tf_vision: bool = False, **timm) -> nn.Module:
    """A ResNet-RS of timm as a backbone, with normalisation as a config says it.

    ``backbone=dict(type='ResNetRS', model_name='resnetrs101', norm_cfg=dict(type='SyncBN', eps=1e-4), …)``. It is
    MMPretrain's ``TIMMBackbone``, whose ``norm_layer`` is a name alone.

    Args:
        model_name: timm's, such as ``'resnetrs101'``.
        norm_cfg: ``type``, and ``eps`` and ``momentum`` where they are not PyTorch's.
        tf_vision: compute what TF Vision's weights were trained for: convolutions of stride 2 pad an even map behind
            its last row and column alone ("same"), and the first stage's shortcut averages 2 x 2 cells too. Tensors
            and their names stay.
        timm: what else ``TIMMBackbone`` takes: ``act_layer='silu'``, ``init_cfg``, …
    """
    # Registered by a name, so that MMPretrain is imported by those alone who use it.
    kind = dict(type='mmpretrain.TIMMBackbone', features_only=True, out_indices=(1, 2, 3, 4))
    backbone = MODELS.build(dict(kind, model_name=model_name, norm_layer=norm_cfg['type'], **timm))
    for module in backbone.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = norm_cfg.get('eps', module.eps)
            module.momentum = norm_cfg.get('momentum', module.momentum)
    if tf_vision:
        _as_tf_vision(backbone)
    return backbone


def _as_tf_vision(backbone: nn.Module) -> None:
    from timm.layers import Conv2dSame

    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.__class__ = Conv2dSame
            module.padding = (0, 0)
    # What is outside counts as nothing in TensorFlow's mean: the same as a last row and column that are there twice.
    pool = nn.Sequential(nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride=1))
    backbone.timm_model.layer1[0].downsample[0] = pool


# --- weights ---------------------------------------------------------------------------------------------------------

_SUFFIX = '/.ATTRIBUTES/VARIABLE_VALUE'
_BLOCK = dict(
    _conv1='conv1', _norm1='bn1', _conv2='conv2', _norm2='bn2', _conv3='conv3', _norm3='bn3',
    _shortcut1='downsample.1', _norm0='downsample.2',
) | {'_squeeze_excitation/_se_reduce': 'se.fc1', '_squeeze_excitation/_se_expand': 'se.fc2'}  # fmt: skip
_STEM = ('conv1.0', 'conv1.1', 'conv1.3', 'conv1.4', 'conv1.6', 'bn1', 'maxpool.0', 'maxpool.1')
_CONV = dict(weight='kernel', bias='bias')
_NORM = dict(weight='gamma', bias='beta', running_mean='moving_mean', running_var='moving_variance')


def read_tf_vision(checkpoint: str) -> dict[str, np.ndarray]:
    """The variables of a checkpoint of TensorFlow 2, by their path: ``backbone/layer_with_weights-0/kernel``, ….

    Args:
        checkpoint: its path without ``.index``, such as ``resnet-rs-101-i192/ckpt-109200``, or its folder.

    Raises:
        ConfigError: TensorFlow is not installed, or there is no checkpoint that it can read.
    """
    try:
        import tensorflow
    except ImportError:
        raise ConfigError(
            f'{checkpoint} is a checkpoint of TensorFlow, which is not installed; `pip install tensorflow-cpu`, in an '
            'environment of its own if you like: the converted file needs it no more.'
        ) from None
    try:
        reader = tensorflow.train.load_checkpoint(checkpoint)
    except (ValueError, RuntimeError, tensorflow.errors.OpError) as error:
        raise ConfigError(
            f'{checkpoint} is no checkpoint of TensorFlow that can be read ({str(error).splitlines()[0]}); name the '
            'folder of one, or its files without .index.'
        ) from None
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith(_SUFFIX)]
    return {name.removesuffix(_SUFFIX): reader.get_tensor(name) for name in names}


def to_timm(variables: Mapping[str, np.ndarray], model_name: str = 'resnetrs101') -> dict[str, Tensor]:
    """TF Vision's ResNet-RS under timm's names, float32, without the classifier.

    Layers are numbered in the order of the network, ``layer_with_weights-N``: four convolutions and normalisations of
    the stem, then the blocks. Convolutions are (H, W, in, out) there and (out, in, H, W) here. Running averages that
    the optimiser keeps beside the weights are left out, as TF Vision does where it starts a detector.

    Args:
        variables: of :func:`read_tf_vision`; the backbone is below any prefix, such as ``backbone/``.
        model_name: timm's name of the network.

    Raises:
        ConfigError: a variable is missing, has another shape or values that are not finite, or one of the backbone
            would be left over.
    """
    import timm

    first = 'layer_with_weights-8/_conv1/kernel'
    prefixes = sorted((name.removesuffix(first) for name in variables if name.endswith(first)), key=len)
    if not prefixes:
        raise ConfigError(
            'the checkpoint has no …layer_with_weights-8/_conv1/kernel, so it is no ResNet-RS of TF Vision; name '
            'the checkpoint of one, such as imagenet_resnetrs101_i192.'
        )
    with torch.device('meta'):
        own = timm.create_model(model_name).state_dict()
    blocks = list(dict.fromkeys('.'.join(key.split('.')[:2]) for key in own if key.startswith('layer')))
    parts = {f'layer_with_weights-{index}': name for index, name in enumerate(_STEM)}
    for index, block in enumerate(blocks, len(_STEM)):
        parts |= {f'layer_with_weights-{index}/{theirs}': f'{block}.{ours}' for theirs, ours in _BLOCK.items()}
    found, used = {}, set()
    for theirs, ours in parts.items():
        names = _NORM if f'{ours}.running_mean' in own else _CONV
        for key, variable in names.items():
            if f'{ours}.{key}' in own:
                name = f'{prefixes[0]}{theirs}/{variable}'
                found[f'{ours}.{key}'] = _tensor(variables, name, own[f'{ours}.{key}'].shape, model_name)
                used.add(name)
    left = {name for name in variables if name.startswith(f'{prefixes[0]}layer_with_weights-')} - used
    left = sorted(name for name in left if '/.OPTIMIZER_SLOT/' not in name)
    if left:
        raise ConfigError(
            f'the checkpoint has {len(left)} variables that {model_name} has no place for ({left[0]}); name the '
            'network that it is of.'
        )
    return found


def _tensor(variables: Mapping[str, np.ndarray], name: str, shape: torch.Size, model_name: str) -> Tensor:
    if name not in variables:
        raise ConfigError(f'the checkpoint has no {name}, which {model_name} needs; name the network that it is of.')
    value = torch.from_numpy(np.asarray(variables[name], dtype=np.float32))
    value = (value.permute(3, 2, 0, 1) if value.dim() == 4 else value).contiguous()
    if value.shape != shape:
        raise ConfigError(
            f'{name} of the checkpoint is {tuple(value.shape)}, and {model_name} has {tuple(shape)} there; name the '
            'network that it is of.'
        )
    if not value.isfinite().all():
        raise ConfigError(f'{name} of the checkpoint has values that are not finite; name another checkpoint.')
    return value
