"""What a study claims, and whether its results show it.

A claim is an inequality between sums of results (:mod:`rethink.studies.expressions`); a result is that of a run after
its last iteration, in points of 100.

Whether it is shown is read off an interval of the difference of both sides, never off a margin: with several seeds
Student's over the seeds, with one a paired bootstrap over the validation images (:mod:`rethink.analysis.bootstrap`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..analysis import bootstrap
from ..errors import ConfigError
from .expressions import Sum, parse
from .plan import PREDICTIONS, Plan, Task
from .results import final, measured, points

RESAMPLES = 1000
SHOWN, CONTRADICTED, OPEN = 'shown', 'contradicted', 'not decided'
BOXES = 'coco/bbox_mAP'
# As metafiles name the published difference of a frozen detector to the same one fine-tuned.
MINUS_TUNED = 'box AP minus fine-tuned'
_LOGGED = re.compile(r'(?:coco/(\w+)_mAP(?:_50|_75|_s|_m|_l)?|lvis/(\w+)_AP\w*)')


@dataclass(frozen=True)
class Claim:
    """What came of a claim.

    Args:
        verdict: :data:`SHOWN`: the whole interval is on the claim's side; :data:`CONTRADICTED`: all of it is on the
            other; :data:`OPEN`: neither, or there is no interval.
        value: by how much the claim's side is ahead, in points of 100 of its metric; None where a result is missing.
        low, high: the 95 % interval of that.
        how: the interval was got, or why there is none.
        published: what ``value`` is with the published numbers, where all of them are.
    """

    sentence: str
    expression: str
    verdict: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    how: str = ''
    published: float | None = None


def judge(plan: Plan, sentence: str, numbers: dict[tuple[str, str], float]) -> Claim:
    """
    Args:
        numbers: the published ones, (run, metric) -> points of 100.

    Raises:
        ConfigError: the claim cannot be read.
    """
    text = plan.study.claims[sentence]
    both = parse(text, plan.study)
    published = _published(both, numbers)
    repeated = [(seed, one) for seed in plan.seeds for one in _repeated(plan, both, seed)]
    if not repeated:
        missing = [run for run, metric in both.terms if final(plan.task(run, plan.seeds[0]), metric) is None]
        how = plan.lacks(missing[0], 'result') if missing else 'there is no result'
        return Claim(sentence, text, OPEN, how=how, published=published)
    values = [both(lambda *key, found=found: found[key]) for _, found in repeated]
    value = float(np.mean(values))
    if len(values) > 1:
        what = 'seeds' if len({seed for seed, _ in repeated}) > 1 else 'reruns'
        found, how = bootstrap.student(values), f"Student's, {len(values)} {what}"
    else:
        drawn, how = _resampled(plan, both, repeated[0][0])
        if drawn is None:
            return Claim(sentence, text, OPEN, value, how=how, published=published)
        found = bootstrap.interval(drawn)
    verdict = {1: SHOWN, -1: CONTRADICTED, 0: OPEN}[found.sign]
    return Claim(sentence, text, verdict, value, found.low, found.high, how, published)


def _published(both: Sum, numbers: dict[tuple[str, str], float]) -> float | None:
    """A claim's difference with the published numbers, or published differences of frozen and fine-tuned detectors."""
    left, value = dict(both.terms), both.constant
    for (run, metric), factor in both.terms.items():
        tuned = run.replace('freeze', 'finetune', 1), metric
        difference = numbers.get((run, MINUS_TUNED)) if metric == BOXES else None
        if difference is not None and tuned[0] != run and left.get(tuned) == -factor:
            value += factor * difference
            del left[run, metric], left[tuned]
    if any(key not in numbers for key in left):
        return None
    return value + sum(factor * numbers[key] for key, factor in left.items())


def _repeated(plan: Plan, both: Sum, seed: int) -> list[dict[tuple[str, str], float]]:
    """The results of a claim's runs, once for each rerun that all of them have; else once, means over the reruns."""
    found = {(run, metric): measured(plan.task(run, seed), metric) for run, metric in both.terms}
    if not all(found.values()):
        return []
    common = set.intersection(*(set(one) for one in found.values()))
    if common:
        return [{key: one[rerun] for key, one in found.items()} for rerun in sorted(common)]
    return [{key: float(np.mean(list(one.values()))) for key, one in found.items()}]


def _resampled(plan: Plan, both: Sum, seed: int) -> tuple[np.ndarray | None, str]:
    """Draws of the claim's difference over the validation images, and how; None and why not."""
    if abs(sum(both.terms.values())) > 1e-9:
        # Images that are drawn twice raise the AP of every draw, which cancels in a difference (docs/intervals.md).
        return None, 'one seed, and a bootstrap knows differences alone'
    tasks = [plan.task(run, seed) for run, _ in both.terms]
    files = [predictions(task, metric) for task, (_, metric) in zip(tasks, both.terms, strict=True)]
    if None in files:
        run, metric = list(both.terms)[files.index(None)]
        return None, f'one seed, and of {metric} of {run} nothing is kept image by image'
    if len({annotations for annotations, _, _ in files}) > 1:
        return None, 'one seed, and the runs are of different validation images'
    try:
        draws, images = _draws(tuple(dict.fromkeys(files)))
    except ConfigError as error:
        return None, f'one seed, and {str(error).rstrip(".")}'

    def drawn(run: str, metric: str) -> np.ndarray:
        file = predictions(plan.task(run, seed), metric)
        return points(metric) * draws[file][metric]

    return both(drawn), f'bootstrap, {images} images'


def predictions(task: Task, metric: str) -> tuple[str, str, str] | None:
    """Annotation file, results file and kind (``'bbox'``, …) of a run's last evaluation; None where there are none."""
    found = _LOGGED.fullmatch(metric)
    if task.cfg is None or found is None:
        return None
    evaluators = task.cfg.get('val_evaluator') or []
    for one in evaluators if isinstance(evaluators, list | tuple) else [evaluators]:
        kind = found[1] or found[2]
        results = Path(f'{one.get("outfile_prefix") or task.job.work_dir / PREDICTIONS}.{kind}.json')
        if one.get('ann_file') and results.is_file():
            return str(one.ann_file), str(results), kind
    return None


@lru_cache(maxsize=32)
def _draws(files: tuple[tuple[str, str, str], ...]) -> tuple[dict, int]:
    """File -> metric -> its values over draws of images that are the same for all files; and how many images."""
    matches = [bootstrap.read_matches(*file) for file in files]
    drawn = bootstrap.resample(matches, RESAMPLES).all
    by_name = [dict(zip(arm.names, values.T, strict=True)) for arm, values in zip(matches, drawn, strict=True)]
    return dict(zip(files, by_name, strict=True)), len(matches[0].images)


def judge_all(plan: Plan, numbers: dict[tuple[str, str], float]) -> Sequence[Claim]:
    """Every claim, in order."""
    return [judge(plan, sentence, numbers) for sentence in plan.study.claims]
