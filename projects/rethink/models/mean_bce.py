"""The loss of study B's classifiers of several labels: a mean over images and classes."""

from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class MeanBCELoss(nn.BCEWithLogitsLoss):
    """``torch.nn.BCEWithLogitsLoss()`` as the loss of MMPretrain's ``MultiLabelLinearClsHead``.

    HPT (Reed et al. 2022, openselfsup/models/heads/cls_head.py) takes the mean over images and classes. MMPretrain's
    ``CrossEntropyLoss(use_sigmoid=True)`` sums over the classes and takes the mean over the images, which makes the
    gradient, and so the learning rate, as many times as large as there are classes.
    """

    def forward(self, cls_score: Tensor, label: Tensor, avg_factor: int | None = None) -> Tensor:
        """The loss of scores (B, C) before the sigmoid and targets (B, C) from 0 to 1, a scalar.

        ``avg_factor``, the number of images, is what the head gives every loss; it is in the mean already.
        """
        return super().forward(cls_score, label.to(cls_score.dtype))
