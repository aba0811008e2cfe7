"""A classifier that takes images, or in their place the features that its frozen backbone has made of them."""

import torch
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FeatureDataPreprocessor(ClsDataPreprocessor):
    """``ClsDataPreprocessor`` that leaves features as they are.

    Args: those of ``ClsDataPreprocessor``.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """A batch on the model's device: images (3, H, W) normalised to (B, 3, H, W), features (C,) as (B, C)."""
        if data['inputs'][0].dim() > 1:
            return super().forward(data, training)
        data = self.cast_data(data)
        return dict(inputs=torch.stack(list(data['inputs'])), data_samples=data['data_samples'])


@MODELS.register_module()
class FeatureClassifier(ImageClassifier):
    """``ImageClassifier`` that also takes what its neck gives, (B, C), and then runs the head alone.

    Training, prediction and checkpoints are otherwise those of ``ImageClassifier``. Its ``data_preprocessor`` is a
    :class:`FeatureDataPreprocessor`; :class:`rethink.engine.hooks.FrozenFeaturesHook` computes the features.

    Args: those of ``ImageClassifier``.
    """

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> tuple[Tensor, ...] | Tensor:
        """Features of images (B, 3, H, W), or of features (B, C) these themselves."""
        if inputs.dim() > 2:
            return super().extract_feat(inputs, stage)
        return self.head.pre_logits((inputs,)) if stage == 'pre_logits' else (inputs,)
