"""Minimax entropy (MME), semi-supervised domain adaptation.

Saito, Kim, Sclaroff, Darrell, Saenko, "Semi-supervised Domain Adaptation via Minimax Entropy", ICCV 2019, arXiv
1904.06487; what HPT is evaluated with as a beginning of domain adaptation. Sizes in suffixes: L labelled images of
both domains, U unlabelled ones of the target, C classes.
"""

import torch
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier, LinearClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional


class _ReversedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def reverse_gradient(inputs: Tensor) -> Tensor:
    """The inputs, through which the gradient goes back with the other sign (Ganin, Lempitsky 2015)."""
    return _ReversedGradient.apply(inputs)


@MODELS.register_module()
class CosineClsHead(LinearClsHead):
    """A linear classifier without a bias on features of length 1, its scores divided by a temperature.

    MME, section 3.1: scores ``w · f / (|f| T)``. The class weights w, which are prototypes by their direction, keep
    their lengths, as in the paper's formula and its code. Features and scores are float32 in mixed precision too:
    dividing by a small temperature enlarges what half precision rounds.

    Args:
        num_classes, in_channels, kwargs: those of ``LinearClsHead``.
        temperature: T.
    """

    def __init__(self, num_classes: int, in_channels: int, temperature: float = 0.05, **kwargs) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc = nn.Linear(in_channels, num_classes, bias=False)
        self.temperature = temperature

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Scores (B, C) before the softmax, of features (B, in_channels), the last in the tuple."""
        features = self.pre_logits(feats)
        with torch.autocast(features.device.type, enabled=False):
            directions = functional.normalize(features.to(self.fc.weight.dtype), dim=1)
            return self.fc(directions) / self.temperature


@MODELS.register_module()
class PartlyLabelledDataPreprocessor(ClsDataPreprocessor):
    """``ClsDataPreprocessor`` for batches in which some samples have no ``gt_label``; these stay without one.

    ``batch_augments`` mix labels, so they are for batches with all labels only.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise and stack all images; move the labels that there are."""
        samples = data.get('data_samples')
        labelled = [sample for sample in samples or () if 'gt_label' in sample]
        # Labels are moved within their samples.
        batch = super().forward({**data, 'data_samples': labelled or None}, training)
        return {**batch, 'data_samples': samples}


@MODELS.register_module()
class MME(ImageClassifier):
    """A classifier of two domains, one of which has few labels, trained by minimax entropy.

    MME, equation 3. With L the cross-entropy of the labelled images of source and target, and H the mean entropy of
    the predictions for unlabelled images of the target, the classifier C (the head) minimises ``L − λ H`` and the
    feature extractor F (backbone and neck) minimises ``L + λ H``. Both in one step: the loss is ``L − λ H``, and
    between F and C the gradient of H is reversed. As in the paper, labelled and unlabelled images are two
    mini-batches, so BN sees them one after the other.

    In training a batch holds both, those without ``gt_label`` being the unlabelled ones. One way to give it: a
    ``ConcatDataset`` of labelled source, labelled target and unlabelled target with ``mmdet.MultiSourceSampler``,
    whose ``batch_size`` is that of the data loader (configs/hpt/pretrain_mme_b2_domainnet_50ki.py). Several processes
    each have their share of every kind, and the mean of their gradients is that of the larger batch.

    Args:
        entropy_weight: λ.
        data_preprocessor: as of ``ImageClassifier``; of type ``PartlyLabelledDataPreprocessor`` where none is named.
        kwargs: those of ``ImageClassifier``.
    """

    def __init__(self, *args, entropy_weight: float = 0.1, data_preprocessor: dict | None = None, **kwargs) -> None:
        data_preprocessor = dict(type='PartlyLabelledDataPreprocessor') | dict(data_preprocessor or {})
        super().__init__(*args, data_preprocessor=data_preprocessor, **kwargs)
        self.entropy_weight = entropy_weight

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """The losses of a batch (L + U, 3, H, W) in any order.

        Returns:
            ``loss_labelled`` (L), ``loss_entropy`` (−λ H, with the gradients of the class description), and
            ``entropy`` (H, in nats, at most log C), which is for the log alone.

        Raises:
            ValueError: all of the images are labelled, or none.
        """
        labelled = [index for index, sample in enumerate(data_samples) if 'gt_label' in sample]
        unlabelled = [index for index, sample in enumerate(data_samples) if 'gt_label' not in sample]
        if not labelled or not unlabelled:
            raise ValueError(
                f'MME got a batch of {len(labelled)} labelled and {len(unlabelled)} unlabelled images and needs both; '
                'set train_dataloader.sampler.batch_size to train_dataloader.batch_size.'
            )
        losses = super().loss(inputs[labelled], [data_samples[index] for index in labelled])
        losses['loss_labelled'] = losses.pop('loss')
        entropy = self._entropy(inputs[unlabelled])
        losses['loss_entropy'] = -self.entropy_weight * entropy
        losses['entropy'] = entropy.detach()
        return losses

    def _entropy(self, inputs: Tensor) -> Tensor:
        """H of images (U, 3, H, W), its gradient reversed in front of the head."""
        features = tuple(reverse_gradient(one) for one in self.extract_feat(inputs))
        log_p_UC = self.head(features).log_softmax(dim=1)
        return -(log_p_UC.exp() * log_p_UC).sum(dim=1).mean()
