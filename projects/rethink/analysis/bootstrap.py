"""Intervals of differences: over seeds."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def student(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of differences, one for each seed."""
    return tuple(map(float, stats.ttest_1samp(np.asarray(values), 0).confidence_interval(level)))
