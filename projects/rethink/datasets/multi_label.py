"""Images with several labels, some of which their annotators were not sure of."""

import numpy as np
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS


@DATASETS.register_module()
class UncertainMultiLabelDataset(MultiLabelDataset):
    """``MultiLabelDataset`` whose images may have classes that are uncertain, or about which nothing is said.

    An entry of the annotation file has ``img_path`` and ``gt_label``, the indices of the positive classes, and where
    there are such classes ``uncertain`` and ``missing``. These two stay in the sample as they are; its ``gt_label`` is
    what a loss and a metric take as positive: (P,) int64, in ascending order, empty for none.

    Args:
        uncertain: what an uncertain class counts as, ``'negative'`` or ``'positive'`` (U-Zeroes and U-Ones of Irvin et
            al. 2019, arXiv 1901.07031). A missing one is negative.
        args: those of ``MultiLabelDataset``.

    Raises:
        ValueError: another ``uncertain``, or a class that the data set does not have.
    """

    def __init__(self, *args, uncertain: str = 'negative', **kwargs):
        if uncertain not in ('negative', 'positive'):
            raise ValueError(f"UncertainMultiLabelDataset has uncertain={uncertain!r}; set 'negative' or 'positive'.")
        self.uncertain = uncertain
        super().__init__(*args, **kwargs)

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """One entry of the file as a sample, with the path of its image below ``data_prefix``."""
        sample = super().parse_data_info(raw_data_info)
        positive = set(sample['gt_label'])
        if self.uncertain == 'positive':
            positive |= set(sample.get('uncertain', ()))
        if positive and not 0 <= min(positive) <= max(positive) < len(self.CLASSES):
            raise ValueError(
                f'{self.ann_file} gives {sample["img_path"]} the classes {sorted(positive)}, but has '
                f'{len(self.CLASSES)} of them, counted from 0.'
            )
        # An empty list would become a tensor of floats, which is no index.
        sample['gt_label'] = np.array(sorted(positive), np.int64)
        return sample
