"""Metrics that configs name in their evaluators."""

from .coco_keypoint import CocoKeypointMetric

__all__ = ['CocoKeypointMetric']
