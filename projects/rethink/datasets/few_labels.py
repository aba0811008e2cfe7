"""A training set with a few labels for each class, for budgets of labels."""

from collections import Counter

import numpy as np
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS


@DATASETS.register_module()
class FewLabelsDataset(CustomDataset):
    """``CustomDataset`` with at most so many images of each class.

    A seed puts all images into a random order, and of each class the first are taken. So a smaller budget of the same
    seed lies within every larger one, and nothing needs to be written beside the list of all training images.

    Args:
        per_class: images of each class; a class that has fewer gives all.
        seed: of the order, which also depends on that of the list.
        args: those of ``CustomDataset``, with labels.

    Raises:
        ValueError: ``per_class`` is below 1, or there are no labels.
    """

    def __init__(self, *args, per_class: int, seed: int = 0, **kwargs) -> None:
        if not isinstance(per_class, int) or per_class < 1:
            raise ValueError(f'FewLabelsDataset has per_class={per_class!r}; set a number of images of 1 or more.')
        self.per_class, self.seed = per_class, seed
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """The samples of the budget, in the order of the list."""
        if not self.with_label:
            raise ValueError('FewLabelsDataset draws by class and has with_label=False; leave that away.')
        samples = super().load_data_list()
        chosen, taken = [], Counter()
        for index in np.random.default_rng(self.seed).permutation(len(samples)):
            label = samples[index]['gt_label']
            if taken[label] < self.per_class:
                taken[label] += 1
                chosen.append(index)
        return [samples[index] for index in sorted(chosen)]
