"""Initialisation from a checkpoint in which the same layers have other names."""

import torch
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from ..errors import ConfigError


def rename(weights: dict[str, Tensor], names: dict[str, str], module: nn.Module, what: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint for some submodules, under the names that they have in the module.

    Args:
        weights: of the checkpoint.
        names: prefix in the checkpoint → name of the submodule, without the dot.
        what: the checkpoint and its use, for the sentence of an error.

    Raises:
        ConfigError: a tensor of one of the submodules is not in the checkpoint, or has another shape there.
    """
    found = {}
    for theirs, ours in names.items():
        for key, own in module.get_submodule(ours).state_dict().items():
            weight = weights.get(f'{theirs}.{key}')
            if weight is None and key.endswith('num_batches_tracked'):  # a counter, which old files lack
                continue
            if weight is None:
                raise ConfigError(
                    f'{what} has no {theirs}.{key}, with which {ours}.{key} of the model begins; name weights that '
                    'have it, or initialise this layer otherwise.'
                )
            if weight.shape != own.shape:
                raise ConfigError(
                    f'{what} does not fit: {theirs}.{key} is {tuple(weight.shape)} in the file and {ours}.{key} '
                    f'{tuple(own.shape)} in the model; name weights of this architecture or change the architecture.'
                )
            found[f'{ours}.{key}'] = weight
    return found


@WEIGHT_INITIALIZERS.register_module()
class RenamedPretrained(PretrainedInit):
    """MMEngine's ``Pretrained`` for some layers of a module that have other names in the checkpoint.

    Unlike ``Pretrained`` it loads all of these layers or ends the run.

    Args:
        checkpoint: local file or anything else that MMEngine loads, such as ``torchvision://vgg16``.
        names: prefix in the checkpoint → name of the submodule, such as ``{'classifier.0': 'shared_fcs.0'}``.

    Raises:
        ConfigError: (when called) a tensor is not in the checkpoint, has another shape, or values that are no numbers.
    """

    def __init__(self, checkpoint: str, names: dict[str, str]) -> None:
        super().__init__(checkpoint)
        self.names = names

    def __call__(self, module: nn.Module) -> None:
        print_log(f'load {", ".join(self.names)} from: {self.checkpoint}', logger='current')
        content = CheckpointLoader.load_checkpoint(self.checkpoint, map_location=self.map_location)
        weights = rename(content.get('state_dict', content), self.names, module, str(self.checkpoint))
        for key, weight in weights.items():
            # torchvision has a file of VGG-16 whose fully connected layers are not there but in name.
            if not torch.isfinite(weight).all():
                raise ConfigError(f'{self.checkpoint} has values for {key} that are not finite; name another file.')
        module.load_state_dict(weights, strict=False)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())
