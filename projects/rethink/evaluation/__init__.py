"""Metrics that configs name in their evaluators."""

from .auroc import MultiLabelAUROC
from .coco_keypoint import CocoKeypointMetric

__all__ = ['CocoKeypointMetric', 'MultiLabelAUROC']
