"""Metrics that configs name in their evaluators."""

from .auroc import MultiLabelAUROC
from .coco import CocoMetric
from .coco_keypoint import CocoKeypointMetric
from .lvis import FasterLVISMetric

__all__ = ['CocoKeypointMetric', 'CocoMetric', 'FasterLVISMetric', 'MultiLabelAUROC']
