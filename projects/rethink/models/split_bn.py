"""Batch normalisation by parts of a batch: in one process what several processes give."""

import functools
import types

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

_UNEQUAL = (
    'SplitBN cannot split a batch of {} images into {} equal groups; set train_dataloader.batch_size to a multiple.'
)


@MODELS.register_module()
class SplitBN(nn.BatchNorm2d):
    """``BatchNorm2d`` that in training normalises each of several consecutive parts of a batch by itself.

    One process with G parts computes what G processes with a part each compute (BN, not SyncBN). Momentum contrast
    needs it: by the statistics of a whole batch a query could tell its key from the others (MoCo, He et al. 2020,
    section 3.3, "shuffling BN"), and MMPretrain's ``MoCo``, which shuffles the keys also where there is one process,
    then has parts to shuffle them between. Running statistics move by the mean over the parts of what each part would
    move them by. Parameters, names and evaluation are those of BN.

    ``norm_cfg = dict(type='SplitBN', groups=4)``

    Args:
        num_features: C.
        groups: G, a divisor of the batch size.
        kwargs: those of ``BatchNorm2d``.
    """

    def __init__(self, num_features: int, groups: int, **kwargs) -> None:
        super().__init__(num_features, **kwargs)
        self.groups = groups

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise (B, C, H, W).

        Raises:
            ValueError: in training, B is not a multiple of the number of parts.
        """
        if not self.training:
            return super().forward(inputs)
        if len(inputs) % self.groups:
            raise ValueError(_UNEQUAL.format(len(inputs), self.groups))
        means, variances = (running.repeat(self.groups, 1) for running in (self.running_mean, self.running_var))
        parts = zip(inputs.chunk(self.groups), means, variances, strict=True)
        outputs = [
            functional.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps)
            for part, mean, variance in parts
        ]
        self.running_mean.copy_(means.mean(0))
        self.running_var.copy_(variances.mean(0))
        self.num_batches_tracked.add_(1)
        return torch.cat(outputs)


class _Split:
    """Mixin in front of a class of BN, such as timm's with an activation: :class:`SplitBN` of it."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        if len(inputs) % self.groups:
            raise ValueError(_UNEQUAL.format(len(inputs), self.groups))
        own = {name: getattr(self, name) for name in ('running_mean', 'running_var')}
        number, outputs, found = self.num_batches_tracked.clone(), [], []
        for part in inputs.chunk(self.groups):
            for name, value in own.items():
                setattr(self, name, value.clone())
            self.num_batches_tracked.copy_(number)
            outputs.append(super().forward(part))
            found.append({name: getattr(self, name) for name in own})
        for name, value in own.items():
            setattr(self, name, value)
            value.copy_(torch.stack([one[name] for one in found]).mean(0))
        return torch.cat(outputs)


@functools.cache
def _split_class(plain: type[nn.Module]) -> type[nn.Module]:
    return types.new_class(f'Split{plain.__name__}', (_Split, plain))


@MODELS.register_module(name='WithSplitBN')
def with_split_bn(of: str, groups: int, **plain) -> nn.Module:
    """Build a registered backbone and let each BN in it be one by parts of a batch, as :class:`SplitBN`.

    ``backbone=dict(type='WithSplitBN', of='mmpretrain.TIMMBackbone', groups=4, model_name=…)``, for backbones
    that have no ``norm_cfg``. Parameters, buffers and their names stay as they are; so do backbones without BN.

    Args:
        of: its type.
        groups: a divisor of the batch size.
        plain: all other arguments, as the plain one has them.
    """
    module = MODELS.build(dict(type=of, **plain))
    for one in module.modules():
        if isinstance(one, nn.modules.batchnorm._BatchNorm) and not isinstance(one, SplitBN):
            one.__class__, one.groups = _split_class(type(one)), groups
    return module
