"""Batch normalisation by parts of a batch: in one process what several processes give."""

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional


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
            raise ValueError(
                f'SplitBN cannot split a batch of {len(inputs)} images into {self.groups} equal groups; set '
                'train_dataloader.batch_size to a multiple.'
            )
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
