"""What is pre-training worth to object detection? Modules of the three studies, for MMDetection.

Importing the package makes mmcv's ops usable without a compiler (:mod:`rethink.ops`) and registers what the configs
name in MMEngine's registries; a config does it with ``custom_imports = dict(imports=['rethink'])``.
"""

from . import ops, reuse
from .reuse import config_path

ops.install()
reuse.install()

# After the ops: what these register may import modules that need them.
from . import hooks, loops, models  # noqa: E402, F401
from .datasets import coco_keypoint, few_labels, multi_label  # noqa: E402, F401
from .evaluation import CocoKeypointMetric, FasterLVISMetric, MultiLabelAUROC  # noqa: E402, F401
from .models import keypoint_head, keypoint_tta, mme  # noqa: E402, F401
from .optimizer import TrainableOptimWrapperConstructor  # noqa: E402, F401
from .visualization import KeypointLocalVisualizer  # noqa: E402, F401

__version__ = '0.1.0'
__all__ = ['config_path']
