"""What is pre-training worth to object detection? Modules of the three studies, for MMDetection.

Importing the package makes mmcv's ops usable without a compiler (:mod:`rethink.ops`) and registers what the configs
name in MMEngine's registries; a config does it with ``custom_imports = dict(imports=['rethink'])``. From then on no
file of weights runs code when it is read (:mod:`rethink.trust`), and no image stops a run without its name being told
(:mod:`rethink.trust.images`). A detector that finds nothing has an AP of 0 (:mod:`rethink.evaluation.nothing_found`).
"""

import contextlib
import io

from . import ops, reuse, trust
from .reuse import config_path
from .version import __version__

ops.install()
reuse.install()
trust.install()

# After the ops: what these register may import modules that need them. OneDL's packages print, when they are imported,
# which optional ones they miss; stdout is for what a tool has to say.
with contextlib.redirect_stdout(io.StringIO()):
    from . import models  # noqa: F401
    from .datasets import coco_keypoint, few_labels, lazy_masks, multi_label, planar, views  # noqa: F401
    from .engine import hooks, loops  # noqa: F401
    from .engine.optimizer import TrainableOptimWrapperConstructor  # noqa: F401
    from .evaluation import CocoKeypointMetric, CocoMetric, FasterLVISMetric, MultiLabelAUROC, nothing_found  # noqa: F401
    from .evaluation.visualization import KeypointLocalVisualizer  # noqa: F401
    from .models import keypoint_head, keypoint_tta, mean_bce, mme  # noqa: F401
    from .trust import images

images.install()
nothing_found.install()

__all__ = ['__version__', 'config_path']
