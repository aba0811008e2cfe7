"""A detector that finds nothing at all has an AP of 0: for MMDetection's metrics it has none."""

import functools

from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log


def say() -> None:
    """Log it."""
    print_log('Not one object was detected, in all images: AP is 0.', 'current', level=30)


def install() -> None:
    """Let MMDetection's ``COCO`` make results of an empty list, once.

    pycocotools looks into the first detection, and ``CocoMetric``, on the ``IndexError``, logs no metric. With no
    detection, pycocotools' evaluation gives 0, and -1 where there is nothing to find, as of a size that no object has.
    """
    original = COCO.loadRes
    if hasattr(original, 'guarded'):
        return

    @functools.wraps(original)
    def load(self, results):
        if not isinstance(results, list) or results:
            return original(self, results)
        say()
        nothing = COCO()
        nothing.dataset = dict(self.dataset, annotations=[])
        nothing.createIndex()
        return nothing

    load.guarded = original
    COCO.loadRes = load
