"""Metrics that configs name in their evaluators."""
