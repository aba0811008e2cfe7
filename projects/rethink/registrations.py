"""What configs name, registered in MMEngine's, MMDetection's and MMPretrain's registries by being imported.

Nobody needs to import it: :mod:`rethink.registering` does before a registry is asked.
"""

import contextlib
import io

# OneDL's packages print, when they are imported, which optional ones they miss; stdout is for what a tool has to say.
with contextlib.redirect_stdout(io.StringIO()):
    from . import models  # noqa: F401
    from .datasets import coco_keypoint, colour_jitter, few_labels, lazy_masks, multi_label, planar, views  # noqa: F401
    from .engine import cpu_amp, hooks, loops, optimizer, runner  # noqa: F401
    from .evaluation import auroc, coco, lvis, visualization  # noqa: F401
    from .evaluation.coco_keypoint import CocoKeypointMetric  # noqa: F401
    from .models import keypoint_head, keypoint_tta, mean_bce, mme  # noqa: F401
